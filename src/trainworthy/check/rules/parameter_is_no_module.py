"""A parameter is asked whether it is a layer, or a layer whether it is a parameter.

What it finds:
    `isinstance(p, nn.Conv2d)` where `p` comes from `model.parameters()` or `named_parameters()`, and
    `isinstance(m, nn.Parameter)` where `m` comes from `modules()`, `named_modules()` or `children()`.

Why:
    The answer is always no. The initialisation, the freezing, or the group of the optimizer that stands below it never
    comes about, and nothing says so.

How sure:
    Certain: the loop is around the question, its variable is not bound again, and no class that is asked for is of the
    other kind.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import bindings_of
from trainworthy.check.static.external import is_module
from trainworthy.check.static.queries import once_per_place
from trainworthy.check.static.tree import nodes_of, unparsed, walk
from trainworthy.check.static.values import Instance, ProjectClass, Ref, Sequence, Value

BAD = """\
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3))
        for m in self.parameters():
            if isinstance(m, nn.Conv2d):  # <- TW323
                nn.init.kaiming_normal_(m.weight)

    def forward(self, x):
        return self.layers(x)
"""

GOOD = """\
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3))
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight)

    def forward(self, x):
        return self.layers(x)
"""

_OF_PARAMETERS = {"parameters": False, "named_parameters": True, "buffers": False, "named_buffers": True}
_OF_MODULES = {"modules": False, "children": False, "named_modules": True, "named_children": True}
_TENSORS = frozenset({"torch.nn.Parameter", "torch.Tensor", "torch.nn.parameter.Parameter"})
_THROUGH = frozenset({"enumerate", "list", "tuple", "tqdm", "sorted", "reversed"})


@rule(code="TW323", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at what `isinstance` is asked of loop variables."""
    if not {"isinstance", "torch"} <= analysis.source.words:
        return
    if not analysis.source.words & {*_OF_PARAMETERS, *_OF_MODULES}:
        return
    for call in once_per_place(analysis.calls("builtins.isinstance")):
        if call.context.source is not analysis.source or len(call.args) != 2:
            continue
        subject = call.node.args[0]
        made = _made_by(analysis, subject) if isinstance(subject, ast.Name) else None
        if made is None and isinstance(subject, ast.Name):
            made = _looked_up(analysis, subject)
        if made is None:
            continue
        method, loop = made
        asked = _classes(call.args[1])
        of_parameters = method in _OF_PARAMETERS
        fits = _is_module_class if of_parameters else _is_tensor_class
        if asked and all(fits(one) for one in asked):
            what, other = ("a parameter", "layer") if of_parameters else ("a layer", "parameter")
            yield Hit(
                place=analysis.place(call.node),
                message=f"`{subject.id}` is {what} and never that kind of {other}: what stands here never runs",  # type: ignore[attr-defined]
                evidence=(Evidence(f"it comes from `{method}()`", analysis.place(loop)),),
                fix=f"Go over `{'modules' if of_parameters else 'parameters'}()`.",
            )


def _made_by(analysis: Analysis, subject: ast.Name) -> tuple[str, ast.expr] | None:
    """Return the method that a loop around gets a name from, and where; None if anything else may bind it."""
    node: ast.AST = subject
    while node in analysis.parents:
        node = analysis.parents[node]
        loops = getattr(node, "generators", [node] if isinstance(node, ast.For) else [])
        for loop in loops:
            if subject.id in {one.id for one in nodes_of(loop.target, ast.Name)}:
                return None if isinstance(loop, ast.For) and _is_bound_in(loop, subject.id) else _source(loop, subject)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            return None
    return None


def _looked_up(analysis: Analysis, subject: ast.Name) -> tuple[str, ast.expr] | None:
    """Return where the name of a parameter comes from that something was looked up by: ``attrgetter(name)(model)``."""
    node: ast.AST = subject
    while node in analysis.parents and not isinstance(node, ast.FunctionDef):
        node = analysis.parents[node]
    value = bindings_of(node).value_before(subject) if isinstance(node, ast.FunctionDef) else None
    getter = value.func if isinstance(value, ast.Call) else None
    if not isinstance(getter, ast.Call) or unparsed(getter.func).rpartition(".")[2] != "attrgetter":
        return None
    name = getter.args[0] if len(getter.args) == 1 else None
    for loop in walk(node):
        if isinstance(name, ast.Name) and isinstance(loop, ast.For) and isinstance(loop.target, ast.Tuple):
            over = loop.iter.func if isinstance(loop.iter, ast.Call) else None
            named = isinstance(over, ast.Attribute) and over.attr == "named_parameters"
            if named and getattr(loop.target.elts[0], "id", "") == name.id and not _is_bound_in(loop, name.id):
                return "named_parameters", loop.iter
    return None


def _is_bound_in(loop: ast.For, name: str) -> bool:
    return any(
        isinstance(one, ast.Name) and one.id == name and isinstance(one.ctx, ast.Store)
        for statement in loop.body
        for one in walk(statement)
    )


def _source(loop: ast.For | ast.comprehension, subject: ast.Name) -> tuple[str, ast.expr] | None:
    """Return the method whose elements, or the second part of whose pairs, a loop calls by that name."""
    target, over = loop.target, loop.iter
    while isinstance(over, ast.Call) and isinstance(over.func, ast.Name) and over.func.id in _THROUGH and over.args:
        if over.func.id == "enumerate":
            if not isinstance(target, ast.Tuple) or len(target.elts) != 2:
                return None
            target = target.elts[1]
        over = over.args[0]
    method = over.func.attr if isinstance(over, ast.Call) and isinstance(over.func, ast.Attribute) else ""
    paired = {**_OF_PARAMETERS, **_OF_MODULES}.get(method)
    if paired:
        target = target.elts[1] if isinstance(target, ast.Tuple) and len(target.elts) == 2 else ast.Tuple([])
    return (method, over) if paired is not None and getattr(target, "id", "") == subject.id else None


def _classes(value: Value) -> tuple[Value, ...]:
    if isinstance(value, Sequence):
        return value.items or ()
    return (value,)


def _is_module_class(value: Value) -> bool:
    if isinstance(value, ProjectClass):
        return is_module(value.prototype or Instance(value.outside_base())) and value.outside_base() not in _TENSORS
    last = value.name.rpartition(".")[2] if isinstance(value, Ref) else ""
    known = isinstance(value, Ref) and value.name.startswith("torch.nn.") and value.name.count(".") == 2
    return known and last[:1].isupper() and not last.endswith(("Parameter", "Buffer"))


def _is_tensor_class(value: Value) -> bool:
    return isinstance(value, Ref) and value.name in _TENSORS
