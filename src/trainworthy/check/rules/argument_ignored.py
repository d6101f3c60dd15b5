"""A mask, a weight or a switch is handed to a function that never reads it.

What it finds:
    A call of the project's own function or method with an argument for a parameter named for a mask, lengths, weights,
    a temperature, `ignore_index` and the like, which the function's body never reads. Also functions that never read a
    parameter and write its default, or another seed, in its place (`nn.Linear(1024, 1000)` for `num_classes=1000`,
    `resnet101()` for `num_layers=101`, `self.zero_mean = True` for `zero_mean`); and `compute_loss` of a trainer that
    never reads `return_outputs`, which every evaluation asks for.

Why:
    What is passed has no effect: padding is attended to, the loss is not weighted, the switch does nothing.

How sure:
    The function is known, its parameter is mentioned nowhere in it, and it is a plain function or a method of a module
    that is not one of several with a common base. The argument is not None, and not what the default is.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Bindings, bindings_of, unread_parameter
from trainworthy.check.static.everywhere import project_files, text_of
from trainworthy.check.static.external import is_module
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import called_function, once_per_place
from trainworthy.check.static.tree import nodes_of, unparsed, walk
from trainworthy.check.static.values import Function, Instance, ProjectClass

BAD = """\
import torch
import torch.nn.functional as F


def loss_of(logits, targets, weight):
    return F.cross_entropy(logits, targets)


print(loss_of(torch.rand(8, 3), torch.zeros(8).long(), weight=torch.rand(3)))  # <- TW844
"""

GOOD = """\
import torch
import torch.nn.functional as F


def loss_of(logits, targets, weight):
    return F.cross_entropy(logits, targets, weight=weight)


print(loss_of(torch.rand(8, 3), torch.zeros(8).long(), weight=torch.rand(3)))
"""

_MATTERS = re.compile(
    r"mask|lengths?$|^weights?$|_weights?$|temperature|ignore_index|smoothing|^reduction$|^dropout$|^shuffle$|"
    r"_dropout$|^generator$|^seed$|^training$|^labels?$|^targets?$|padding_idx|^bias$"
)


@rule(code="TW844", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at what the project's functions get."""
    if "torch" not in analysis.source.words:
        return
    yield from _written_out(analysis)
    yield from _sizes_written_out(analysis)
    yield from _constants(analysis)
    done: set[tuple[ast.AST, str]] = set()
    for call in once_per_place(iter(analysis.all_calls)):
        function = called_function(call)
        if function is None or call.starred or call.context.source is not analysis.source or _may_be_shared(function):
            continue
        if call.name.startswith("super."):  # the parameter is there for who descends from it
            continue
        for name, given in _given(function, call):
            if (function.node, name) in done:
                continue
            if not _MATTERS.search(name) or _is_default(function, name, given) or _is_read(function, name):
                continue
            if not _is_defined_often(function):
                done.add((function.node, name))
                yield Hit(
                    place=analysis.place(given, call.context),
                    message=f"`{function.name}` never reads its `{name}`",
                    evidence=(Evidence("the function", function.source.place(function.node)),),
                    fix="Use it there, or remove the parameter.",
                    defects=frozenset({unread_parameter(function.source, function.node, name)}),
                )


def _may_be_shared(function: Function) -> bool:
    """Say whether a function may have its parameters for the sake of others: an interface, a stub, a decorator."""
    owner = function.owner
    if isinstance(function.node, ast.Lambda) or function.node.args.kwarg is not None or function.decorators:
        return True
    if owner is not None and not is_module(owner.prototype or Instance("")):
        return True  # hooks that users are to override
    if owner is not None and (any(isinstance(one, ProjectClass) for one in owner.bases) or not owner.fully_known()):
        return True
    body = [
        one for one in function.node.body if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))
    ]
    return len(body) < 2 and all(isinstance(one, ast.Pass | ast.Raise | ast.Return) and _is_short(one) for one in body)


def _is_defined_often(function: Function) -> bool:
    """Say whether three or more classes of a project have a method of that name: there is one way to call them."""
    if function.owner is None or function.name in ("forward", "__init__"):
        return False
    head = f"def {function.name}("
    return sum(text_of(file).count(head) for file in project_files(function.source.path) or ()) > 2


def _is_short(node: ast.stmt) -> bool:
    return not isinstance(node, ast.Return) or node.value is None or isinstance(node.value, ast.Constant | ast.Name)


def _given(function: Function, call: Call) -> Iterator[tuple[str, ast.expr]]:
    arguments = function.node.args
    names = [one.arg for one in (*arguments.posonlyargs, *arguments.args)]
    if function.owner is not None and names[:1] in (["self"], ["cls"]):
        names = names[1:]
    yield from zip(names, call.node.args, strict=False)
    for keyword in call.node.keywords:
        if keyword.arg is not None:
            yield keyword.arg, keyword.value


def _is_default(function: Function, name: str, given: ast.expr) -> bool:
    default = _defaults(function.node).get(name)
    if isinstance(given, ast.Constant) and given.value is None:
        return True
    return default is not None and unparsed(default) == unparsed(given)


def _is_read(function: Function, name: str) -> bool:
    body = function.node.body if isinstance(function.node.body, list) else [function.node.body]
    return any(
        (isinstance(node, ast.Name) and (node.id == name or node.id in ("locals", "vars")))
        for statement in body
        for node in walk(statement)
    )


def _written_out(analysis: Analysis) -> Iterator[Hit]:
    """Yield functions that write a value where their parameter, which they never read, is meant."""
    trainers = {inner for cls in analysis.nodes.get(ast.ClassDef, []) if _evaluates_by_loss(cls)
                for inner in getattr(cls, "body", [])}  # fmt: skip
    for node in analysis.nodes.get(ast.FunctionDef, []):
        if not isinstance(node, ast.FunctionDef) or node.decorator_list or len(node.body) > _MOST_STATEMENTS:
            continue
        if (node.name == "compute_loss" and node not in trainers) or not _may_write_out(node):
            continue
        parameters = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        names = {one.arg for one in parameters} - {"self", "cls"}
        unread = names - {one.id for one in nodes_of(node, ast.Name)} if names else names
        for name in sorted(unread):
            found = _instead(node, name)
            if found is not None:
                at, why = found
                yield Hit(
                    place=analysis.place(at),
                    message=f"`{node.name}` never reads its `{name}`: {why}",
                    fix="Use the parameter.",
                    defects=frozenset({unread_parameter(analysis.source, node, name)}),
                )


_MOST_STATEMENTS = 60


def _evaluates_by_loss(node: ast.AST) -> bool:
    """Say whether a class is a trainer of transformers whose evaluation calls `compute_loss`."""
    bases = [unparsed(one).rpartition(".")[2] for one in getattr(node, "bases", [])]
    methods = {getattr(one, "name", "") for one in getattr(node, "body", [])}
    trainer = any(one.endswith("Trainer") and not one.startswith("_") for one in bases)
    return trainer and not methods & {"prediction_step", "evaluate", "evaluation_loop"}


def _may_write_out(node: ast.FunctionDef) -> bool:
    """Say whether a function has a parameter of the kinds that are looked for."""
    names = {one.arg for one in (*node.args.args, *node.args.kwonlyargs)}
    short = len(node.body) <= 2 and any(
        isinstance(one, ast.Constant) and isinstance(one.value, float)
        for one in (*node.args.defaults, *node.args.kw_defaults)
    )
    return short or bool(names & {"seed", "random_state", "return_outputs"})


def _instead(node: ast.FunctionDef, name: str) -> tuple[ast.AST, str] | None:
    """Return what stands in place of a parameter that a function never reads."""
    default = _defaults(node).get(name)
    if name == "return_outputs" and node.name == "compute_loss":
        last = next((one for one in nodes_of(node, ast.Return)), None)
        return (last, "an evaluation asks for the outputs, too") if last is not None else None
    for one in walk(node):
        if not isinstance(one, ast.Call):
            continue
        for keyword in one.keywords:
            if (
                name in ("seed", "random_state")
                and keyword.arg in ("seed", "random_state")
                and _is_number(keyword.value)
            ):
                return keyword.value, f"it is written as {unparsed(keyword.value)} here"
        values = [*one.args, *[keyword.value for keyword in one.keywords if keyword.arg == name]]
        if isinstance(default, ast.Constant) and isinstance(default.value, float) and len(node.body) <= 2:
            for value in values:
                if isinstance(value, ast.Constant) and value.value == default.value and isinstance(value.value, float):
                    return value, "its default is written here"
    return None


def _is_number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int) and not isinstance(node.value, bool)


def _defaults(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> dict[str, ast.expr]:
    positional = [*node.args.posonlyargs, *node.args.args]
    found = dict(zip([one.arg for one in reversed(positional)], reversed(node.args.defaults), strict=False))
    return found | {
        one.arg: value for one, value in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True) if value
    }


def _constants(analysis: Analysis) -> Iterator[Hit]:
    """Yield `self.zero_mean = True` in an `__init__` that never reads its `zero_mean`."""
    for node in analysis.nodes.get(ast.FunctionDef, []):
        if not isinstance(node, ast.FunctionDef) or node.name != "__init__" or node.args.kwarg is not None:
            continue
        names = {one.arg for one in (*node.args.args[1:], *node.args.kwonlyargs)}
        for one in node.body if names else ():
            name = _given_a_constant(one) if isinstance(one, ast.Assign) else ""
            meant = _MEANT.search(analysis.source.lines[one.lineno - 1]) is not None
            if name in names and not meant and not bindings_of(node).is_read(name):
                yield Hit(
                    place=analysis.place(one),
                    message=f"`__init__` never reads its `{name}`: `{unparsed(one)}`, whatever is given",
                    fix=f"Write `self.{name} = {name}`.",
                    defects=frozenset({unread_parameter(analysis.source, node, name)}),
                )


_MEANT = re.compile(r"#.*\b(off|disabled?|now|not|always|fixed|unused|ignored?)\b")


def _given_a_constant(statement: ast.Assign) -> str:
    """Return the attribute of self that is given a constant; "" if it is something else, or None for what comes."""
    target, value = statement.targets[0], statement.value
    own = isinstance(target, ast.Attribute) and getattr(target.value, "id", "") == "self"
    constant = isinstance(value, ast.Constant) and value.value is not None
    return target.attr if isinstance(target, ast.Attribute) and own and constant else ""


def _sizes_written_out(analysis: Analysis) -> Iterator[Hit]:
    """Yield the default of a size that a function never reads, written where the size is meant."""
    owners = {one: cls for cls in analysis.nodes.get(ast.ClassDef, []) for one in getattr(cls, "body", [])}
    for node in analysis.nodes.get(ast.FunctionDef, []):
        if not isinstance(node, ast.FunctionDef) or node.args.kwarg is not None or node.decorator_list:
            continue
        sizes = {name: one.value for name, one in _defaults(node).items() if isinstance(one, ast.Constant)}
        sizes = {name: value for name, value in sizes.items() if _is_telling(name, value)}
        if not sizes or (node in owners and node.name != "__init__"):
            continue
        names = bindings_of(node)
        for name, value in sizes.items():
            if not names.is_read(name) and name not in names.stores:
                yield from _instead_of_a_size(analysis, owners.get(node, node), names, name, str(value))


_SIZE = re.compile(
    r"^(num|n)_|_(size|dim|channels|classes|layers|length|features)$|^(depth|layers|classes|channels|dim)$"
)


def _is_telling(name: str, value: object) -> bool:
    """Say whether a default is a size or a rate that does not stand anywhere by chance."""
    if isinstance(value, float):
        return value not in (0.0, 1.0) and _MATTERS.search(name) is not None
    return isinstance(value, int) and not isinstance(value, bool) and value > 9 and bool(_SIZE.search(name))


def _instead_of_a_size(analysis: Analysis, scope: ast.AST, names: Bindings, name: str, value: str) -> Iterator[Hit]:
    """Yield the only place that holds a number: an argument, or the end of the name of what is called."""
    written: list[ast.AST] = [one for call in names.calls for one in call.args if unparsed(one) == value]
    called = [one for one in nodes_of(scope, ast.Call) if _ends_in(one.func, value)]
    found = written or called
    if len(found) == 1 and (not isinstance(scope, ast.ClassDef) or not _is_an_interface(analysis, scope, name)):
        yield Hit(
            place=analysis.place(found[0]),
            message=f"`{names.function.name}` never reads its `{name}`: its default is written here",
            fix="Use the parameter.",
            defects=frozenset({unread_parameter(analysis.source, names.function, name)}),
        )


def _ends_in(func: ast.expr, value: str) -> bool:
    return re.search(rf"[a-z_]{value}$", getattr(func, "id", getattr(func, "attr", ""))) is not None


def _is_an_interface(analysis: Analysis, cls: ast.ClassDef, name: str) -> bool:
    """Say whether the class reads an attribute of that name, which may be set elsewhere."""
    return any(isinstance(one, ast.Attribute) and one.attr == name for one in walk(cls))
