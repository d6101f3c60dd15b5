"""Reading a sample changes the data set.

What it finds:
    In `__getitem__`, a name for `self.samples[index]` is changed in place: by a method that ends in `_`, by
    assigning to a part of it, or by `+=` and the like where the stored data are a tensor or an array. Also where it is
    a view of the item, or is handed to a method of the class that changes its argument so.

Why:
    Indexing a tensor or an array, or taking an item of a list, gives the stored object itself: augmentation adds up
    from epoch to epoch, and the data drift away.

How sure:
    The name is used for nothing else before the change. Silent where the item is copied, cast or computed first.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.tree import walk
from trainworthy.check.static.values import Function, ProjectClass

BAD = """\
import torch


class Noisy(torch.utils.data.Dataset):
    def __init__(self):
        self.samples = torch.rand(100, 4)

    def __getitem__(self, index):
        x = self.samples[index]
        x += torch.randn(4)  # <- TW560
        return x
"""

GOOD = """\
import torch


class Noisy(torch.utils.data.Dataset):
    def __init__(self):
        self.samples = torch.rand(100, 4)
        self.labels = list(range(100))

    def __getitem__(self, index):
        x = self.samples[index].clone()
        x += torch.randn(4)
        y = self.labels[index]
        y += 1
        return x, y
"""


@rule(code="TW560", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the methods that give a sample."""
    if "__getitem__" not in analysis.source.words:
        return
    for cls in analysis.classes:
        method = cls.members.get("__getitem__")
        if (
            isinstance(method, Function)
            and isinstance(method.node, ast.FunctionDef)
            and len(method.node.args.args) == 2
        ):
            yield from _in_method(analysis, cls, method.node)


# What holds another data set, which may well make each sample anew.
_DATA_SET = re.compile(r"(^|_)(data_?set|subset|ds|base)$", re.IGNORECASE)


def _in_method(analysis: Analysis, cls: ProjectClass, node: ast.FunctionDef) -> Iterator[Hit]:
    index = node.args.args[1].arg
    aliases: dict[str, tuple[str, ast.AST]] = {}
    for statement in _in_order(node.body):
        for name, place in (*_changed(statement), *_handed_on(cls, statement)):
            attribute, made = aliases.get(name, ("", statement))
            plain = isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name)
            kept = not plain and _DATA_SET.search(attribute) is None
            if attribute and (kept or _holds_arrays(analysis, cls, attribute)):
                yield Hit(
                    place=analysis.place(place),
                    message=f"`{name}` is a part of `self.{attribute}`, so this changes the data set for good",
                    evidence=(Evidence("it is taken here", analysis.place(made)),),
                    fix=f"{name} = self.{attribute}[{index}].clone()  (.copy() for arrays and lists)",
                )
                return
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                for one in walk(target):
                    if isinstance(one, ast.Name):
                        aliases.pop(one.id, None)
                attribute = _item_of(statement.value, index)
                if isinstance(target, ast.Name) and attribute:
                    aliases[target.id] = (attribute, statement)


_VIEWS = frozenset({"view", "squeeze", "unsqueeze", "transpose", "permute", "detach"})
_SHARING = frozenset({"torch.from_numpy", "torch.as_tensor", "np.asarray", "numpy.asarray"})


def _in_order(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        yield statement
        for part in ("body", "orelse"):
            yield from _in_order(getattr(statement, part, None) or [])


def _item_of(value: ast.expr, index: str) -> str:
    """Return the attribute of which a value is the item with that index, or a view of it."""
    while isinstance(value, ast.Call | ast.Subscript | ast.Attribute):
        if isinstance(value, ast.Call):
            func = value.func
            if isinstance(func, ast.Attribute) and ast.unparse(func) in _SHARING and len(value.args) == 1:
                value = value.args[0]
            elif isinstance(func, ast.Attribute) and func.attr in _VIEWS:
                value = func.value
            else:
                return ""
        elif isinstance(value, ast.Subscript) and any(isinstance(one, ast.Slice) for one in walk(value.slice)):
            value = value.value
        else:
            break
    if not isinstance(value, ast.Subscript) or getattr(value.slice, "id", "") != index:
        return ""
    of = value.value
    return of.attr if isinstance(of, ast.Attribute) and getattr(of.value, "id", "") == "self" else ""


def _changed(statement: ast.stmt) -> Iterator[tuple[str, ast.AST]]:
    """Yield the names that a statement changes in place."""
    if isinstance(statement, ast.AugAssign):
        base = statement.target.value if isinstance(statement.target, ast.Subscript) else statement.target
        if isinstance(base, ast.Name):
            yield base.id, statement
    elif isinstance(statement, ast.Assign):
        for target in statement.targets:
            if isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
                yield target.value.id, statement
    elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        func = statement.value.func
        in_place = isinstance(func, ast.Attribute) and func.attr.endswith("_") and not func.attr.startswith("_")
        if in_place and isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name):
            yield func.value.id, statement


def _handed_on(cls: ProjectClass, statement: ast.stmt) -> Iterator[tuple[str, ast.AST]]:
    """Yield the names that a statement hands to a method of the class which writes into its argument first of all."""
    if not isinstance(statement, ast.Assign | ast.Expr | ast.Return) or statement.value is None:
        return
    for call in walk(statement.value):
        func = call.func if isinstance(call, ast.Call) else None
        own = isinstance(func, ast.Attribute) and getattr(func.value, "id", "") == "self"
        method = cls.members.get(func.attr) if own and isinstance(func, ast.Attribute) else None
        if not isinstance(call, ast.Call) or not isinstance(method, Function) or isinstance(method.node, ast.Lambda):
            continue
        parameters = [one.arg for one in method.node.args.args if one.arg != "self"]
        for one, parameter in zip(call.args, parameters, strict=False):
            if isinstance(one, ast.Name) and _writes_into(method.node, parameter):
                yield one.id, call


def _writes_into(node: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> bool:
    """Say whether a function changes its argument in place, and gives the name no other value."""
    rebound = any(isinstance(one, ast.Name) and one.id == name and isinstance(one.ctx, ast.Store) for one in walk(node))
    return not rebound and any(name == changed for one in _in_order(node.body) for changed, _ in _changed(one))


def _holds_arrays(analysis: Analysis, cls: ProjectClass, attribute: str) -> bool:
    """Say whether some method sets the attribute to what a function of torch or NumPy gives."""
    libraries = {
        alias.asname or alias.name
        for one in analysis.nodes.get(ast.Import, ())
        if isinstance(one, ast.Import)
        for alias in one.names
        if alias.name in ("torch", "numpy")
    }
    for node in walk(cls.node):
        if isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Attribute) and t.attr == attribute for t in node.targets
        ):
            value = node.value
            root: ast.AST = value
            while isinstance(root, ast.Call | ast.Attribute):
                root = root.func if isinstance(root, ast.Call) else root.value
            if isinstance(value, ast.Call) and getattr(root, "id", "") in libraries:
                return True
    return False
