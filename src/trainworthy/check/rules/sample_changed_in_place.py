"""Reading a sample changes the data set.

What it finds:
    In `__getitem__`, a name for `self.samples[index]` is changed in place: by a method that ends in `_`, by
    assigning to a part of it, or by `+=` and the like where the stored data are a tensor or an array. Also where it is
    a view of the item, a part of it (`sample["boxes"]`), or is handed to a method of the class that changes its
    argument so; and where the index is looked up first (`self.samples[self.order[index]]`). In any function: a slice of
    an array that processes share (`SharedArray.attach`, `np.memmap`, `np.load(mmap_mode="r+")`) that `+=` and the like
    change before it is handed on.

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
from trainworthy.check.static.bindings import Bindings, bindings_of, functions_of
from trainworthy.check.static.libraries import is_usual_name
from trainworthy.check.static.tree import unparsed, walk
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
    yield from _shared_arrays(analysis)
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
    looked_up = {index}
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
                if not isinstance(target, ast.Name):
                    continue
                attribute = _item_of(statement.value, looked_up) or _part_of(statement.value, aliases)
                if attribute:
                    aliases[target.id] = (attribute, statement)
                if _is_an_index(statement.value, looked_up):
                    looked_up.add(target.id)
                elif target.id != index:
                    looked_up.discard(target.id)


_VIEWS = frozenset({"view", "squeeze", "unsqueeze", "transpose", "permute", "detach"})
_SHARING = frozenset({"from_numpy", "as_tensor", "asarray"})  # functions of torch and NumPy


def _in_order(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        yield statement
        for part in ("body", "orelse"):
            yield from _in_order(getattr(statement, part, None) or [])


def _part_of(value: ast.expr, aliases: dict[str, tuple[str, ast.AST]]) -> str:
    """Return the attribute of whose item a value is an entry that the name of a column takes: an array or a list."""
    if not isinstance(value, ast.Subscript) or not isinstance(value.value, ast.Name):
        return ""
    named = isinstance(value.slice, ast.Constant) and isinstance(value.slice.value, str)
    return aliases.get(value.value.id, ("", value))[0] if named else ""


def _is_an_index(value: ast.expr, known: set[str]) -> bool:
    """Say whether a value is an index that another one is looked up by or counted from."""
    if isinstance(value, ast.BinOp):
        return any(isinstance(one, ast.Name) and one.id in known for one in (value.left, value.right))
    if not isinstance(value, ast.Subscript) or getattr(value.slice, "id", "") not in known:
        return False
    return _INDICES.search(getattr(value.value, "attr", "")) is not None


_INDICES = re.compile(r"(^|_)(ind|inds|idx|idxs|indices|indexes|order|ids|mapping|perm|permutation)$")


def _item_of(value: ast.expr, known: set[str]) -> str:
    """Return the attribute of which a value is the item with one of some indices, or a view of it."""
    while isinstance(value, ast.Call | ast.Subscript | ast.Attribute):
        if isinstance(value, ast.Call):
            func = value.func
            of_library = isinstance(func, ast.Attribute) and func.attr in _SHARING and is_usual_name(func.value)
            if of_library and len(value.args) == 1:
                value = value.args[0]
            elif isinstance(func, ast.Attribute) and func.attr in _VIEWS:
                value = func.value
            else:
                return ""
        elif isinstance(value, ast.Subscript) and any(isinstance(one, ast.Slice) for one in walk(value.slice)):
            value = value.value
        else:
            break
    if not isinstance(value, ast.Subscript):
        return ""
    if getattr(value.slice, "id", "") not in known and not _is_an_index(value.slice, known):
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


_ATTACHES = frozenset({"SharedArray.attach", "np.memmap", "numpy.memmap", "sa.attach"})


def _shared_arrays(analysis: Analysis) -> Iterator[Hit]:
    """Yield changes of slices of an array that other processes or the disk have, too, which are then handed on."""
    if analysis.source.words.isdisjoint({"SharedArray", "memmap", "mmap_mode"}):
        return
    for function in functions_of(analysis.nodes):
        names = bindings_of(function)
        arrays = {name for _, name, value in names.given if _is_shared(value)}
        slices = {name: made for made, name, value in names.given
                  if isinstance(value, ast.Subscript) and getattr(value.value, "id", "") in arrays
                  and isinstance(value.slice, ast.Slice | ast.Tuple)} if arrays else {}  # fmt: skip
        for change in walk(function) if slices else ():
            if not isinstance(change, ast.AugAssign):
                continue
            target = change.target.value if isinstance(change.target, ast.Subscript) else change.target
            name = getattr(target, "id", "")
            made = slices.get(name)
            if made is None or change.lineno < made.lineno or _is_copied(names, name, made, change):
                continue
            if any(one.id == name and one.lineno > change.lineno for one in _handed_over(function)):
                yield Hit(
                    place=analysis.place(change),
                    message=f"`{name}` is a part of a shared array, so this changes it for good",
                    evidence=(Evidence("it is taken here", analysis.place(made)),),
                    fix=f"Copy the slice first: `{name} = ....copy()`.",
                )
                break


def _is_shared(value: ast.expr) -> bool:
    """Say whether a value is an array that writes go through to memory or a file that others read."""
    if not isinstance(value, ast.Call):
        return False
    called, modes = unparsed(value.func), {one.arg: getattr(one.value, "value", "") for one in value.keywords}
    if called.endswith("memmap"):
        return called in _ATTACHES and modes.get("mode", "r+") == "r+"
    return called in _ATTACHES or (called.endswith(".load") and modes.get("mmap_mode") == "r+")


def _is_copied(names: Bindings, name: str, made: ast.Assign, change: ast.AugAssign) -> bool:
    """Say whether a statement between two gives a name something that is made of it."""
    between = [
        one for one, target in names.plain_assignments() if target == name and made.lineno < one.lineno < change.lineno
    ]
    return any(isinstance(part, ast.Name) and part.id == name for one in between for part in walk(one.value))


def _handed_over(function: ast.AST) -> Iterator[ast.Name]:
    """Yield names that are returned, or given to a call."""
    for one in walk(function):
        parts = (
            [one.value] if isinstance(one, ast.Return | ast.Yield) else [*one.args] if isinstance(one, ast.Call) else []
        )
        for part in parts:
            elements = part.elts if isinstance(part, ast.Tuple) else [part]
            yield from (each for each in elements if isinstance(each, ast.Name))
