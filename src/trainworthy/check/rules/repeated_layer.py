"""One layer stands several times in a list of layers.

What it finds:
    `nn.ModuleList([layer for _ in range(n)])` or `nn.Sequential(*[Block()] * n)`, where every element is the same
    object; also a loop that adds one layer in each turn, and such a list that reaches the container under a name, as an
    argument or by `itertools.repeat`. As a warning, `def __init__(self, norm=nn.LayerNorm(8))` of a module that keeps
    its default as a part, and `activation = nn.PReLU()` that is put into several places of a module.

Why:
    All elements share one set of weights; 12 layers train the parameters of one. A default is made once, for all
    objects of the class: coarse and fine networks, or all blocks, get the same layer.

How sure:
    The element does not depend on the loop and is a module with parameters. ALBERT shares weights on purpose,
    usually by one attribute that is called several times; use `# noqa: TW304` if a list is meant. Lists under a name
    and loops are left alone where the text around speaks of sharing.

In real steps:
    All entries of a ModuleList or Sequential are the same instance, and it has parameters.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.dry.notes import noted, place_in
from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Call
from trainworthy.check.static.layer_lists import has_parameters, is_named_as_a_layer
from trainworthy.check.static.layers_in_turns import added_in_turns, speaks_of_sharing
from trainworthy.check.static.libraries import full_name
from trainworthy.check.static.queries import is_a_module, once_per_place
from trainworthy.check.static.tree import nodes_of, own
from trainworthy.check.static.values import UNKNOWN, Function, ProjectClass, Sequence
from trainworthy.tape.record import Tape

BAD = """\
import torch.nn as nn


class Encoder(nn.Module):
    def __init__(self, layer: nn.Module, n: int):
        super().__init__()
        block = nn.Linear(4, 4)
        self.layers = nn.ModuleList([block for _ in range(n)])  # <- TW304
        self.more = nn.Sequential(*[nn.Linear(4, 4)] * 3)  # <- TW304
"""

GOOD = """\
import copy

import torch.nn as nn


class Encoder(nn.Module):
    def __init__(self, layer: nn.Module, n: int):
        super().__init__()
        block = nn.Linear(4, 4)
        self.layers = nn.ModuleList([copy.deepcopy(block) for _ in range(n)])
        self.more = nn.Sequential(*[nn.Linear(4, 4) for _ in range(3)])
        self.active = nn.Sequential(*[nn.ReLU()] * 3)
"""


@rule(code="TW304", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at what lists of layers are made of, and at layers that are defaults of modules."""
    for cls in analysis.classes:
        if is_a_module(cls.prototype):
            yield from _defaults(analysis, cls)
    yield from _shared_slopes(analysis)
    for call in once_per_place(analysis.calls("torch.nn.ModuleList", "torch.nn.Sequential")):
        for argument in call.node.args:
            inner = argument.value if isinstance(argument, ast.Starred) else argument
            if _repeats(inner, analysis, call):
                yield Hit(
                    place=analysis.place(call.node, call.context),
                    message="every element is the same object: all layers share one set of weights",
                    evidence=(Evidence("repeated here", analysis.place(inner, call.context)),),
                    fix=_FIX,
                )
                break
        else:
            yield from _handed_on(analysis, call)
    yield from _from_keys(analysis)
    yield from added_in_turns(analysis, _FIX)


_FIX = "Construct it inside of the comprehension, or copy it: `copy.deepcopy(layer)`."


def _from_keys(analysis: Analysis) -> Iterator[Hit]:
    """Yield dictionaries of layers in which one layer stands under every key."""
    for call in once_per_place(analysis.calls("torch.nn.ModuleDict")):
        given = call.node.args[0] if call.node.args else None
        made = analysis.call_at.get(given) if isinstance(given, ast.Call) else None
        if made is not None and last_name(made.node.func) == "fromkeys" and _is_layer(made, analysis):
            yield Hit(
                place=analysis.place(call.node, call.context),
                message="every key holds the same object: all layers share one set of weights",
                evidence=(Evidence("made once here", analysis.place(made.node, made.context)),),
                fix="Make one for each: `{key: Layer() for key in keys}`.",
            )


def _is_layer(made: Call, analysis: Analysis) -> bool:
    return len(made.args) == 2 and has_parameters(made.args[1], analysis)


def _handed_on(analysis: Analysis, call: Call) -> Iterator[Hit]:
    """Yield a container of what was made elsewhere in the file by repeating one layer."""
    for value, argument in zip(call.args if not call.starred else (), call.node.args, strict=False):
        node = value.node if isinstance(value, Sequence) else None
        made = node is not None and node is not argument and node in analysis.parents
        if not made or not isinstance(node, ast.expr) or speaks_of_sharing(analysis, node, call.node):
            continue
        of_one = isinstance(node, ast.Call) and has_parameters(getattr(value, "element", None) or UNKNOWN, analysis)
        if of_one or _repeats(node, analysis, call):
            yield Hit(
                place=analysis.place(node),
                message="every element is the same object: all layers share one set of weights",
                evidence=(Evidence("put into a container here", analysis.place(call.node, call.context)),),
                fix=_FIX,
            )


def _shared_slopes(analysis: Analysis) -> Iterator[Hit]:
    """Yield a PReLU that is made once, in one branch or in all, and put into several places of a module."""
    if "PReLU" not in analysis.source.words:
        return
    for init in analysis.nodes.get(ast.FunctionDef, ()):
        if not isinstance(init, ast.FunctionDef) or init.name != "__init__":
            continue
        made = {
            one.targets[0].id: one for one in nodes_of(init, ast.Assign)
            if isinstance(one.targets[0], ast.Name) and _is_prelu(analysis, one.value)
        }  # fmt: skip
        for name, statement in made.items():
            names = [one for one in nodes_of(init, ast.Name) if one.id == name]
            placed = sorted((one for one in names if _is_placed(analysis, one)), key=lambda one: one.lineno)
            if len(placed) > 1:
                yield Hit(
                    place=analysis.place(statement),
                    severity="warning",
                    message=f"this PReLU stands in {len(placed)} places of the module, which share its slope",
                    evidence=tuple(Evidence("put here", analysis.place(one)) for one in placed[:2]),
                    fix="Make one for each place: keep the class, `activation = nn.PReLU`, and call it there.",
                )


def _is_prelu(analysis: Analysis, value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and full_name(analysis.source, value.func) == "torch.nn.PReLU"


def _is_placed(analysis: Analysis, name: ast.AST) -> bool:
    """Say whether a name is put into a container of layers, or becomes a part of the module."""
    outer = analysis.parents.get(name)
    if isinstance(outer, ast.Call) and name in outer.args:
        return last_name(outer.func) in ("Sequential", "append", "add_module")
    if isinstance(outer, ast.Assign) and outer.value is name:
        return any(isinstance(one, ast.Attribute) for one in outer.targets)
    return isinstance(outer, ast.List | ast.Tuple) and isinstance(getattr(name, "ctx", None), ast.Load)


def _defaults(analysis: Analysis, cls: ProjectClass) -> Iterator[Hit]:
    """Yield layers that are defaults of a module's arguments, and become its parts as they are."""
    init = cls.members.get("__init__")
    if not isinstance(init, Function) or not isinstance(init.node, ast.FunctionDef):
        return
    arguments = init.node.args
    names = [*arguments.posonlyargs, *arguments.args]
    pairs: list[tuple[ast.arg, ast.expr | None]] = [*zip(reversed(names), reversed(arguments.defaults), strict=False)]
    pairs += zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    for argument, default in pairs:
        made = default.elts if isinstance(default, ast.Tuple | ast.List) else [default]
        calls = [analysis.call_at.get(one) for one in made if isinstance(one, ast.Call)]
        layer = next((one for one in calls if one is not None and has_parameters(one.result, analysis)), None)
        if layer is not None and _is_kept(init.node, argument.arg):
            yield Hit(
                place=analysis.place(layer.node),
                message=f"all objects of `{cls.node.name}` that get no `{argument.arg}` share the weights of this one",
                fix=f"Take None as the default, and make a new one where `{argument.arg}` is None.",
                severity="warning",
            )


def _is_kept(init: ast.FunctionDef, name: str) -> bool:
    """Say whether an argument becomes an attribute as it is, or goes into a container of layers that does."""
    for one in own(init):
        if not isinstance(one, ast.Assign | ast.AnnAssign) or one.value is None:
            continue
        value, target = one.value, one.targets[0] if isinstance(one, ast.Assign) else one.target
        if not isinstance(target, ast.Attribute):
            continue
        if isinstance(value, ast.Call) and last_name(value.func) in ("ModuleList", "Sequential", "list"):
            given = [each.value if isinstance(each, ast.Starred) else each for each in value.args]
        else:
            given = [value]
        if any(isinstance(each, ast.Name) and each.id == name for each in given):
            return not any(isinstance(each, ast.Name) and each.id == name for each in _stores(init))
    return False


def _stores(init: ast.FunctionDef) -> Iterator[ast.AST]:
    return (one for one in own(init) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store))


def _repeats(node: ast.expr, analysis: Analysis, call: Call) -> bool:
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("list", "tuple")
        and node.args
    ):
        node = node.args[0]
    if isinstance(node, ast.ListComp | ast.GeneratorExp):
        names = {one.id for one in nodes_of(node.generators[0].target, ast.Name)}
        if isinstance(node.elt, ast.Name) and node.elt.id not in names:
            element = analysis.element_of(node)
            given = call.method == "ModuleList" and element is UNKNOWN and _is_a_parameter(node.elt.id, call)
            return given or has_parameters(element, analysis)
        return False
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        held = node.left if isinstance(node.left, ast.List) else node.right
        if isinstance(held, ast.List) and len(held.elts) == 1:
            made = [one.result for one in analysis.all_calls if one.node is held.elts[0]]
            if UNKNOWN in made and call.method == "ModuleList" and is_named_as_a_layer(held.elts[0]):
                return True
            return any(has_parameters(one, analysis) for one in made) or any(
                isinstance(one.result, Sequence) and has_parameters(one.result.element or UNKNOWN, analysis)
                for one in analysis.operations
                if one.node is node
            )
    return False


def _is_a_parameter(name: str, call: Call) -> bool:
    """Say whether a name is a parameter of the function around, which nothing binds anew."""
    function = call.context.function
    if function is None or not isinstance(function.node, ast.FunctionDef):
        return False
    arguments = {one.arg for one in (*function.node.args.args, *function.node.args.kwonlyargs)}
    return name in arguments and not any(isinstance(one, ast.Name) and one.id == name for one in _stores(function.node))


LIVE_BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4)] * 3)  # <- TW304
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x).relu()
        return self.head(x)


model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(3):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
LIVE_GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
relu = nn.ReLU()
model = nn.Sequential(nn.Linear(4, 4), relu, nn.Linear(4, 4), relu, nn.Sequential(relu, relu), nn.Linear(4, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(3):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW304", severity="error", depth="live")
def find_live(facts: LiveFacts) -> Iterator[Hit]:
    """Yield each such list."""
    for fact in facts.shared:
        yield Hit(
            place=fact.place,
            message=f"{fact.container} {fact.path!r} holds one {fact.class_name} {fact.times} times: "
            f"{fact.parameters:,} parameters instead of {fact.times * fact.parameters:,}",
            fix="Make each one: [Layer() for _ in range(n)], or copy.deepcopy.",
        )


@rule(code="TW304", severity="error", depth="dry")
def find_on_tape(tape: Tape) -> Iterator[Hit]:
    """Yield the lists of models that were called."""
    for note in noted(tape, "repeated"):
        yield Hit(
            place=place_in(note, tape),
            message=f"{note['container']} {note['where']!r} holds one {note['class']} {note['times']} times: "
            f"{note['parameters']:,} parameters instead of {note['times'] * note['parameters']:,}",
            fix="Make each one: [Layer() for _ in range(n)], or copy.deepcopy.",
        )
