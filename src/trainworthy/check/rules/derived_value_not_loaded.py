"""A value that is derived from loaded state is not made anew after loading.

What it finds:
    A class that keeps `self.alpha = torch.exp(self.log_alpha)` in step at several places, and a method that loads
    `self.log_alpha` from a checkpoint without that line.

Why:
    After resuming, the old value is used until the next update: training goes on with another temperature, scale or
    table than the one that was saved.

How sure:
    The same line stands in two or more methods, the value is made of that attribute alone, and the loading method
    neither makes it nor calls a method of its own that does, and hands the object to no function.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Def
from trainworthy.check.static.tree import nodes_of, unparsed, walk

BAD = """\
import torch


class Agent:
    def __init__(self):
        self.log_alpha = torch.zeros(1, requires_grad=True)
        self.alpha = torch.exp(self.log_alpha.detach())

    def update(self, loss, optimizer):
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        self.alpha = torch.exp(self.log_alpha.detach())

    def load_state_dict(self, state):
        with torch.no_grad():
            self.log_alpha[:] = state["log_alpha"]  # <- TW646
"""

GOOD = """\
import torch


class Agent:
    def __init__(self):
        self.log_alpha = torch.zeros(1, requires_grad=True)
        self.alpha = torch.exp(self.log_alpha.detach())

    def update(self, loss, optimizer):
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        self.alpha = torch.exp(self.log_alpha.detach())

    def load_state_dict(self, state):
        with torch.no_grad():
            self.log_alpha[:] = state["log_alpha"]
            self.alpha = torch.exp(self.log_alpha.detach())
"""

_LOADS = re.compile(r"(^|_)(load|restore|resume|set_state|setstate)")
_MODULES = frozenset({"torch", "numpy", "math", "functional"})
_ASKS = frozenset({"super", "getattr", "hasattr", "isinstance", "type", "print"})
_WRITES = frozenset({"copy_", "load_state_dict", "fill_", "set_"})


@rule(code="TW646", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at classes that load something."""
    if "torch" not in analysis.source.words:
        return
    modules = _modules(analysis)
    for node in analysis.nodes.get(ast.ClassDef, ()):
        methods = [one for one in node.body if isinstance(one, Def)] if isinstance(node, ast.ClassDef) else []
        loading = [one for one in methods if _LOADS.search(one.name)]
        derived = _derived(methods, modules) if loading else {}
        for method in loading if derived else ():
            yield from _stale(analysis, methods, method, derived)


def _modules(analysis: Analysis) -> set[str]:
    """Return the names under which a file has the modules of functions."""
    imports = (*analysis.nodes.get(ast.Import, ()), *analysis.nodes.get(ast.ImportFrom, ()))
    names = [one for node in imports if isinstance(node, ast.Import | ast.ImportFrom) for one in node.names]
    return {one.asname or one.name for one in names if one.name.rpartition(".")[2] in _MODULES} | {"self"}


def _derived(methods: list[Def], modules: set[str]) -> dict[str, list[tuple[str, ast.Assign]]]:
    """Return, for each attribute, the attributes that several methods make of it alone, in one way."""
    made: dict[tuple[str, str], dict[str, ast.Assign]] = defaultdict(dict)
    sources: dict[tuple[str, str], str] = {}
    for method in methods:
        for one in walk(method):
            target = _own(one.targets[0]) if isinstance(one, ast.Assign) and len(one.targets) == 1 else ""
            if not target or not isinstance(one, ast.Assign):
                continue
            read = {_own(part) for part in walk(one.value)} - {""}
            names = {part.id for part in nodes_of(one.value, ast.Name)}
            if len(read) == 1 and target not in read and names <= modules:
                key = (target, unparsed(one.value))
                made[key].setdefault(method.name, one)
                sources[key] = next(iter(read))
    found: dict[str, list[tuple[str, ast.Assign]]] = defaultdict(list)
    for key, places in made.items():
        if len(places) > 1 and isinstance(next(iter(places.values())).value, ast.Call | ast.BinOp):
            found[sources[key]].append((key[0], [*places.values()][-1]))
    return found


def _stale(
    analysis: Analysis, methods: list[Def], method: Def, derived: dict[str, list[tuple[str, ast.Assign]]]
) -> Iterator[Hit]:
    """Yield the places where a method loads an attribute and leaves what is derived from it."""
    names = {one.name: one for one in methods}
    if any(isinstance(one, ast.Call) and _is_handed_self(one) for one in walk(method)):
        return
    sets = _set_by([method], names)
    for statement in walk(method):
        loaded = _loaded(statement)
        for other, where in derived.get(loaded, ()):
            if other not in sets:
                yield Hit(
                    place=analysis.place(statement),
                    message=f"`self.{other}` is made of `self.{loaded}`, and stays as it was",
                    evidence=(Evidence("it is made so elsewhere", analysis.place(where)),),
                    fix=unparsed(where),
                )


def _is_handed_self(call: ast.Call) -> bool:
    """Say whether a function gets the whole object, and may set what it likes."""
    return getattr(call.func, "id", "") not in _ASKS and any(getattr(one, "id", "") == "self" for one in call.args)


def _set_by(reached: list[Def], names: dict[str, Def]) -> set[str]:
    """Return the attributes that a method sets, or one that it leads to."""
    found: set[str] = set()
    for method in reached:
        for one in walk(method):
            called = names.get(_own(one.func)) if isinstance(one, ast.Call) else None
            if called is not None and called not in reached:
                reached.append(called)
            elif isinstance(one, ast.Attribute) and isinstance(one.ctx, ast.Store):
                found.add(_own(one))
    return found


def _loaded(statement: ast.AST) -> str:
    """Name the attribute that a statement gives another value."""
    if isinstance(statement, ast.Assign):
        target = statement.targets[0]
        return _own(target.value) if isinstance(target, ast.Subscript) else _own(target)
    call = statement.value if isinstance(statement, ast.Expr) else None
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in _WRITES:
        owner = call.func.value
        inner = owner.value if isinstance(owner, ast.Attribute) and owner.attr == "data" else owner
        return _own(inner)
    return ""


def _own(node: ast.AST) -> str:
    """Name an attribute of `self`."""
    return node.attr if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "self" else ""
