"""Pretrained weights are overwritten by the initialisation that comes after them.

What it finds:
    A module that takes layers from a pretrained network (`resnet50(pretrained=True)`, `AutoModel.from_pretrained(...)`)
    and then initialises every layer of that kind in `self.modules()`, or by `self.apply(...)`; likewise a model that is
    made pretrained, or gets a `load_state_dict`, and is then initialised as a whole.

Why:
    The pretrained weights are gone. The training starts from random numbers, and only the result is worse.

How sure:
    The initialisation is of kinds of layers that the network has, asks nothing but the layer's class, and stands below
    the loading without a condition that names it. Silent if anything is loaded after it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Def, function_around, functions_of
from trainworthy.check.static.initialisers import ALL_KINDS, initialised_kinds
from trainworthy.check.static.tree import nodes_of, unparsed, walk

BAD = """\
import torchvision
from torch import nn


class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        resnet = torchvision.models.resnet50(pretrained=True)
        self.backbone = nn.Sequential(*list(resnet.children())[:-2])
        self.head = nn.Conv2d(2048, classes, 1)
        self._init_weights()  # <- TW382

    def _init_weights(self):
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight)

    def forward(self, x):
        return self.head(self.backbone(x))
"""

GOOD = """\
import torchvision
from torch import nn


class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        resnet = torchvision.models.resnet50(pretrained=True)
        self.backbone = nn.Sequential(*list(resnet.children())[:-2])
        self.head = nn.Conv2d(2048, classes, 1)
        self._init_weights()

    def _init_weights(self):
        for m in self.head.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight)

    def forward(self, x):
        return self.head(self.backbone(x))
"""

_IMAGES = re.compile(
    r"resne|vgg|densenet|mobilenet|efficientnet|inception|shufflenet|squeezenet|hrnet|res2net|convnext", re.IGNORECASE
)
_OF_IMAGES = frozenset({"Conv2d", "BatchNorm2d"})
_OF_TEXT = frozenset({"Linear", "Embedding", "LayerNorm"})


@rule(code="TW382", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at functions that make something pretrained and initialise it afterwards."""
    words = analysis.source.words
    if "torch" not in words or not words & {"pretrained", "from_pretrained", "weights", "load_state_dict"}:
        return
    for function in functions_of(analysis.nodes):
        loaded = [*_loaded(function), *_restored(function)]
        if loaded:
            yield from _overwritten(analysis, function, loaded)


def _loaded(function: Def) -> Iterator[tuple[str, ast.stmt, frozenset[str]]]:
    """Yield what holds a pretrained network: ``self`` or a name, with the assignment and its kinds of layers."""
    local: dict[str, frozenset[str]] = {}
    for one in sorted((n for n in nodes_of(function, ast.Assign)), key=lambda n: n.lineno):
        kinds = frozenset().union(*(_kinds(function, call) for call in nodes_of(one.value, ast.Call)))
        taken = {name.id for name in nodes_of(one.value, ast.Name)}
        kinds = kinds.union(*(local[name] for name in taken & local.keys()))
        target = one.targets[0]
        if not kinds:
            continue
        if isinstance(target, ast.Name):
            local[target.id] = kinds
            yield target.id, one, kinds
        elif isinstance(target, ast.Attribute) and unparsed(target.value) == "self" and _is_a_part(one.value):
            yield "self", one, kinds


def _restored(function: Def) -> Iterator[tuple[str, ast.stmt, frozenset[str]]]:
    """Yield what gets its weights from a file or another network as a whole: layers of all kinds."""
    for one in nodes_of(function, ast.Expr):
        func = one.value.func if isinstance(one.value, ast.Call) else None
        if isinstance(func, ast.Attribute) and func.attr == "load_state_dict":
            yield unparsed(func.value), one, ALL_KINDS


def _is_a_part(value: ast.expr) -> bool:
    """Say whether a value is a network or layers of one, not a number that it tells."""
    names = {one.attr for one in nodes_of(value, ast.Attribute)}
    return not names & {"config", "hidden_size", "in_features", "out_features", "num_features", "shape", "out_channels"}


def _kinds(function: Def, call: ast.Call) -> frozenset[str]:
    """Return the kinds of layers that a call makes with pretrained weights."""
    name = unparsed(call.func)
    last = name.rpartition(".")[2]
    if last == "from_pretrained":
        return _OF_TEXT if re.search(r"Model\b|Model\.|Bert|GPT|T5|Llama", name) else frozenset()
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    network = _IMAGES.search(last) or (
        name.endswith("create_model") and call.args and _IMAGES.search(unparsed(call.args[0]))
    )
    if not network:
        return frozenset()
    if "pretrained" in given:
        return _OF_IMAGES if _is_true(function, given["pretrained"]) else frozenset()
    named = given.get("weights")
    return _OF_IMAGES if named is not None and "Weights." in unparsed(named) else frozenset()


def _is_true(function: Def, node: ast.expr) -> bool:
    """Say whether a value is True, or a parameter that is if nobody says otherwise."""
    if isinstance(node, ast.Name):
        arguments = function.args
        positional = [*arguments.posonlyargs, *arguments.args]
        defaults = zip(reversed(positional), reversed(arguments.defaults), strict=False)
        return any(arg.arg == node.id and _is_true(function, value) for arg, value in defaults)
    return isinstance(node, ast.Constant) and node.value is True


def _overwritten(
    analysis: Analysis, function: Def, loaded: list[tuple[str, ast.stmt, frozenset[str]]]
) -> Iterator[Hit]:
    for statement in walk(function):
        if not isinstance(statement, ast.Expr | ast.For):
            continue
        found = initialised_kinds(analysis, function, statement)
        if found is None or _is_conditional(analysis, statement, function) or _loads_after(function, statement):
            continue
        holder, kinds = found
        for held, made, has in loaded:
            if (
                held == holder
                and has & kinds
                and made.lineno < statement.lineno
                and not _is_in_other_branch(analysis, made, statement)
            ):
                yield Hit(
                    place=analysis.place(statement.iter if isinstance(statement, ast.For) else statement),
                    message=f"this initialises every {_written(has & kinds)} anew, also what was loaded",
                    evidence=(Evidence("weights are loaded here", analysis.place(made)),),
                    fix="Initialise only the new layers, or load the weights afterwards.",
                )
                return


def _written(kinds: frozenset[str]) -> str:
    return " and ".join(sorted(kinds)) if kinds < ALL_KINDS and len(kinds) < 4 else "layer"


def _is_conditional(analysis: Analysis, statement: ast.AST, function: Def) -> bool:
    """Say whether a condition around a statement may keep it from pretrained networks."""
    node = statement
    while node is not function and node in analysis.parents:
        inner, node = node, analysis.parents[node]
        if isinstance(node, ast.If | ast.IfExp | ast.Try | ast.ExceptHandler) or (
            isinstance(node, ast.For) and inner is not node.iter and node is not statement
        ):
            return True
    return False


def _is_in_other_branch(analysis: Analysis, made: ast.AST, statement: ast.AST) -> bool:
    """Say whether two statements stand in different functions."""
    return function_around(analysis.parents, made) is not function_around(analysis.parents, statement)


def _loads_after(function: Def, statement: ast.stmt) -> bool:
    """Say whether something that is called after loading stands below."""
    return any(
        isinstance(one, ast.Call) and one.lineno > statement.lineno and "load" in unparsed(one.func).lower()
        for one in walk(function)
    )
