"""A property or method calls itself with nothing changed.

What it finds:
    A property that reads itself, and a method or function that returns the result of itself, called with its own
    parameters, before anything changed.

Why:
    It never ends: RecursionError at the first use on that way, often an evaluation or a rare kind of input. Mostly
    `super()` or an underscore was meant.

How sure:
    Certain for properties. For functions, all parameters are passed on as they came, and nothing is assigned or called
    above that line but tests, which ask only what stays as it is.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.tree import unparsed, walk

BAD = """\
import torch


class Embedding(torch.nn.EmbeddingBag):
    @property
    def width(self):
        return self.width  # <- TW829

    def forward(self, x):
        if x.dim() <= 2:
            return self.forward(x)  # <- TW829
        return super().forward(x.flatten(0, 1))
"""

GOOD = """\
import torch


class Embedding(torch.nn.EmbeddingBag):
    @property
    def width(self):
        return self.embedding_dim

    def forward(self, x):
        if x.dim() <= 2:
            return super().forward(x)
        return super().forward(x.flatten(0, 1))
"""

_PROPERTIES = frozenset({"property", "cached_property", "functools.cached_property"})


@rule(code="TW829", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at functions and properties."""
    if not analysis.source.words & {"torch", "numpy"}:
        return
    methods = {
        inner: cls
        for cls in analysis.nodes.get(ast.ClassDef, [])
        for inner in getattr(cls, "body", [])
        if isinstance(inner, ast.FunctionDef)
    }
    for node in analysis.nodes.get(ast.FunctionDef, []):
        if not isinstance(node, ast.FunctionDef):
            continue
        if node in methods and any(unparsed(one) in _PROPERTIES for one in node.decorator_list):
            at = _reads_itself(node)
            what = f"the property `{node.name}` reads itself"
        else:
            at = _returns_itself(node, node in methods) if not node.decorator_list else None
            what = f"`{node.name}` calls itself with the same arguments"
        if at is not None:
            yield Hit(
                place=analysis.place(at), message=f"{what}, without end", fix="Is `super()` or another name meant?"
            )


def _reads_itself(node: ast.FunctionDef) -> ast.AST | None:
    first = node.args.args[0].arg if node.args.args else ""
    if any(isinstance(one, ast.Attribute) and one.attr == node.name and isinstance(one.ctx, ast.Store)
           for one in walk(node)):  # fmt: skip
        return None  # what a cached property stores takes its place
    for one in walk(node):
        if isinstance(one, ast.FunctionDef | ast.Lambda | ast.ClassDef) and one is not node:
            return None
        if not isinstance(one, ast.Attribute) or one.attr != node.name or not isinstance(one.ctx, ast.Load):
            continue
        if isinstance(one.value, ast.Name) and one.value.id == first:
            return one
    return None


def _returns_itself(node: ast.FunctionDef, is_method: bool) -> ast.AST | None:
    """Return the line that calls a function anew, among those that come before anything is changed."""
    arguments = node.args
    if arguments.vararg or arguments.kwarg or arguments.kwonlyargs:
        return None
    names = [one.arg for one in (*arguments.posonlyargs, *arguments.args)]
    for statement in node.body:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue
        if isinstance(statement, ast.Assert):
            continue
        inner = statement.body if isinstance(statement, ast.If) and not statement.orelse else [statement]
        last = inner[0] if len(inner) == 1 else None
        if isinstance(statement, ast.If) and _may_differ(statement.test):
            return None
        if isinstance(last, ast.Return) and _is_itself(last.value, node.name, names, is_method):
            return last.value
        if not isinstance(statement, ast.If) or not isinstance(inner[-1], ast.Return | ast.Raise):
            return None
    return None


def _may_differ(test: ast.expr) -> bool:
    """Say whether a test may change something, or have another outcome the next time."""
    return any(
        isinstance(one, ast.Call) and getattr(one.func, "attr", getattr(one.func, "id", "")) not in _ASKING
        for one in walk(test)
    )


_ASKING = frozenset(
    "isinstance len hasattr getattr callable issubclass is_tensor dim size numel ndimension is_floating_point "
    "is_complex is_contiguous startswith endswith lower upper int float str type all any".split()
)


def _is_itself(node: ast.expr | None, name: str, names: list[str], is_method: bool) -> bool:
    if not isinstance(node, ast.Call) or node.keywords:
        return False
    if is_method:
        if not names or not isinstance(node.func, ast.Attribute) or node.func.attr != name:
            return False
        receiver = node.func.value
        if not isinstance(receiver, ast.Name) or receiver.id != names[0]:
            return False
        names = names[1:]
    elif not isinstance(node.func, ast.Name) or node.func.id != name:
        return False
    return [one.id if isinstance(one, ast.Name) else "" for one in node.args] == names
