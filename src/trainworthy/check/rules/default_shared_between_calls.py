"""A list or dict that is a parameter's default is changed, for all calls.

What it finds:
    `def __init__(self, history=[])` with `self.history = history` and `self.history.append(...)` in a method; or a
    function that appends to, or writes into, its parameter with such a default.

Why:
    The default is made once. Every object and every call adds to the same list: a second model begins with the first
    one's history, layers or statistics.

How sure:
    The parameter keeps its default until it is changed, and what changes it adds to it: an entry of a fixed name, which
    every call writes anew, is left alone. Said once of a function, and as a hint only where no program of the project
    calls it, or makes objects of the class, twice without the argument.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from pathlib import Path

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Def, bindings_of, functions_of
from trainworthy.check.static.everywhere import project_files, text_of
from trainworthy.check.static.tree import children, nodes_of, own, unparsed, walk

BAD = """\
import torch


class Meter:
    def __init__(self, values=[]):
        self.values = values

    def update(self, loss):
        self.values.append(loss.item())  # <- TW856


def losses_of(model, batches, losses={}):
    for at, batch in enumerate(batches):
        losses[at] = model(batch).item()  # <- TW856
    return losses
"""

GOOD = """\
import torch


class Meter:
    def __init__(self, values=()):
        self.values = list(values)

    def update(self, loss):
        self.values.append(loss.item())


def losses_of(model, batches, losses=None):
    losses = {} if losses is None else losses
    for at, batch in enumerate(batches):
        losses[at] = model(batch).item()
    return losses
"""

_CHANGES = frozenset({"append", "extend", "insert", "add"})
_CACHES = ("cache", "memo", "registry", "_seen", "static", "state", "counter", "_c")


@rule(code="TW856", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the functions whose parameters have such defaults."""
    if not analysis.source.words & {"torch", "numpy"}:
        return
    for function in functions_of(analysis.nodes):
        found: dict[str, tuple[ast.AST, ast.expr]] = {}
        for name, default in _mutable(function):
            if name.startswith("_") or any(one in name.lower() for one in _CACHES):
                continue
            change = _changed(function, name)
            if change is None and function.name == "__init__":
                change = _changed_as_attribute(analysis, function, name)
            if change is not None:
                found[name] = change, default
        if found:
            yield _hit(analysis, function, found)


def _hit(analysis: Analysis, function: Def, found: dict[str, tuple[ast.AST, ast.expr]]) -> Hit:
    """Say all that is shared of one function at once."""
    name, (change, _) = min(found.items(), key=lambda one: getattr(one[1][0], "lineno", 0))
    others = f", and those of `{'`, `'.join(one for one in found if one != name)}`" if len(found) > 1 else ""
    return Hit(
        place=analysis.place(change),
        message=f"this changes the default of `{name}` for every later call{others}",
        evidence=tuple(Evidence("the default, made once", analysis.place(one)) for _, one in found.values()),
        fix=f"Take None as the default, and make a new one: {name} = [] if {name} is None else {name}",
        severity=None if _is_called_again(analysis, function, found) else "hint",
    )


def _is_called_again(analysis: Analysis, function: Def, names: Collection[str]) -> bool:
    """Say whether one program calls a function, or makes objects of a class, twice without the arguments."""
    cls = analysis.parents.get(function)
    if isinstance(cls, ast.ClassDef) and function.name != "__init__":
        return True
    called = cls.name if isinstance(cls, ast.ClassDef) else function.name
    if _calls_in(analysis.source.tree, called, names) > 1:
        return True
    here = str(Path(analysis.source.path).resolve())
    for file in project_files(analysis.source.path) or ():
        text = text_of(file)
        if called not in text or not file.endswith(".py") or str(Path(file).resolve()) == here:
            continue
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError):
            continue
        if _calls_in(tree, called, names) > 1:
            return True
    return False


def _calls_in(node: ast.AST, called: str, names: Collection[str]) -> int:
    """Count the calls of a name that do not give some arguments; branches exclude each other, a loop goes twice."""
    if isinstance(node, ast.If):
        either = (sum(_calls_in(one, called, names) for one in body) for body in (node.body, node.orelse))
        return _calls_in(node.test, called, names) + max(either)
    found = sum(_calls_in(one, called, names) for one in ast.iter_child_nodes(node))
    if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == called:
        found += all(one.arg is not None and one.arg not in names for one in node.keywords)
    return 2 * found if isinstance(node, _LOOPS) else found


_LOOPS = ast.For | ast.While | ast.ListComp | ast.GeneratorExp | ast.DictComp | ast.SetComp


def _mutable(function: Def) -> Iterator[tuple[str, ast.expr]]:
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    pairs = [*zip(reversed(positional), reversed(arguments.defaults), strict=False)]
    pairs += [(one, value) for one, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if value]
    for one, value in pairs:
        made = isinstance(value, ast.Call) and getattr(value.func, "id", "") in ("list", "dict", "set", "defaultdict")
        if isinstance(value, ast.List | ast.Dict | ast.Set) or made:
            yield one.arg, value


def _changed(function: Def, name: str) -> ast.AST | None:
    """Return where a function changes a parameter in place that it never gives another value."""
    if _is_replaced(function, name):
        return None
    changes = (one for one in own(function) if _changes(one, name))
    return min(changes, key=lambda one: getattr(one, "lineno", 0), default=None)


def _is_replaced(function: Def, name: str) -> bool:
    """Say whether a parameter is given another value, which it is not by `+=`."""
    added = {one.target for one in own(function) if isinstance(one, ast.AugAssign)}
    return any(one not in added for one in bindings_of(function).stores.get(name, ()))


def _changes(node: ast.AST, text: str) -> bool:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _CHANGES:
        return unparsed(node.func.value) == text
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
        other_each_time = not isinstance(node.slice, ast.Constant | ast.Slice)
        return other_each_time and unparsed(node.value) == text
    return isinstance(node, ast.AugAssign) and unparsed(node.target) == text


def _changed_as_attribute(analysis: Analysis, function: Def, name: str) -> ast.AST | None:
    """Return where a class changes the attribute that is the default itself."""
    kept = [
        one.targets[0]
        for one in own(function)
        if isinstance(one, ast.Assign)
        and isinstance(one.value, ast.Name)
        and one.value.id == name
        and isinstance(one.targets[0], ast.Attribute)
        and getattr(one.targets[0].value, "id", "") == "self"
    ]
    cls = analysis.parents.get(function)
    if len(kept) != 1 or not isinstance(cls, ast.ClassDef) or _is_replaced(function, name):
        return None
    text = unparsed(kept[0])
    again = [one for one in nodes_of(cls, ast.Attribute) if isinstance(one.ctx, ast.Store)]
    if sum(unparsed(one) == text for one in again) > 1:
        return None
    return next((one for part in children(cls) for one in walk(part) if _changes(one, text)), None)
