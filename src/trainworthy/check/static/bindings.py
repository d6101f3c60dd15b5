"""Where a function binds its names and where it reads them, by its tree alone."""

from __future__ import annotations

import ast
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator

from trainworthy.check.static.source import Source
from trainworthy.check.static.tree import nodes_of, walk

Def = ast.FunctionDef | ast.AsyncFunctionDef
_NAMED: tuple[type[ast.AST], ...] = (
    ast.FunctionDef, ast.AsyncFunctionDef, ast.ExceptHandler, ast.MatchAs, ast.MatchStar,
)  # fmt: skip
_SEE_ALL = frozenset({"locals", "vars", "eval", "exec", "globals"})


class Bindings:
    """The names of one function or file, those of the functions in it included.

    Attributes:
        scope: Its definition, or the file's tree.
        parameters: The names of its arguments.
        reads: Where each name is read or deleted, in the order of the text.
        stores: Where each name is bound by a statement, in that order.
        declared: The names that are global or nonlocal, or attributes of a class within: others may read them.
        defined: The names that imports, definitions and handlers bind.
        given: Its plain assignments, those of tuples one by one: the statement, the name and what it is given.
        opaque: Whether it may read its names in a way that is not seen here: ``locals()`` and the like.
    """

    def __init__(self, scope: Def | ast.Module) -> None:
        self.scope = scope
        self.parameters = [] if isinstance(scope, ast.Module) else _parameters(scope.args)
        self.reads: dict[str, list[ast.Name]] = defaultdict(list)
        self.stores: dict[str, list[ast.Name]] = defaultdict(list)
        self.declared: set[str] = set()
        self.defined: set[str] = set()
        self.opaque = False
        self.calls = nodes_of(scope, ast.Call)
        self._plain: list[tuple[ast.Assign, str]] = []
        self.given: list[tuple[ast.Assign, str, ast.expr]] = []
        for name in nodes_of(scope, ast.Name):
            (self.stores if type(name.ctx) is ast.Store else self.reads)[name.id].append(name)
        for statement in nodes_of(scope, ast.Assign):
            self.given += [(statement, *pair) for pair in _pairs(statement)]
            if len(statement.targets) == 1 and isinstance(statement.targets[0], ast.Name):
                self._plain.append((statement, statement.targets[0].id))
        for cls in nodes_of(scope, ast.ClassDef):
            self.defined.add(cls.name)
            self.declared |= _attributes(cls)
        for one_of_all in nodes_of(scope, ast.Global):
            self.declared.update(one_of_all.names)
        for outer in nodes_of(scope, ast.Nonlocal):
            self.declared.update(outer.names)
        self.defined.update((one.asname or one.name).partition(".")[0] for one in nodes_of(scope, ast.alias))
        self.defined.update(getattr(one, "name", None) or "" for kind in _NAMED for one in nodes_of(scope, kind))
        self.defined.update(one.rest or "" for one in nodes_of(scope, ast.MatchMapping))
        self.opaque = bool(_SEE_ALL & self.reads.keys())
        for found in (self.reads, self.stores):
            for names in found.values():
                names.sort(key=lambda one: (one.lineno, one.col_offset))

    @property
    def function(self) -> Def:
        """The definition that these are the names of; a file has none, and nobody asks it."""
        assert not isinstance(self.scope, ast.Module)
        return self.scope

    def is_read(self, name: str) -> bool:
        """Say whether anything reads a name, or may."""
        return self.opaque or bool(self.reads.get(name)) or name in self.declared

    def is_used(self, name: str) -> bool:
        """Say whether anything but the statements that bind a name anew reads it."""
        if self.opaque or name in self.declared:
            return True
        own = {read for statement, target in self.plain_assignments() if target == name for read in walk(statement)}
        return any(one not in own for one in self.reads.get(name, ()))

    def plain_assignments(self) -> list[tuple[ast.Assign, str]]:
        """Return the statements ``name = ...`` of the function and of those in it."""
        return self._plain

    def value_before(self, read: ast.Name) -> ast.expr | None:
        """Return what the last ``name = ...`` above a place gives a name; None if another statement binds it later."""
        above = [one for one in self.stores.get(read.id, ()) if one.lineno < read.lineno]
        found: tuple[ast.Assign, str, ast.expr] | None = None
        for given in self.given if above else ():
            statement = given[0]
            if given[1] == read.id and (statement.end_lineno or statement.lineno) < read.lineno:
                found = given if found is None or statement.lineno > found[0].lineno else found
        return found[2] if found is not None and (found[0].end_lineno or 0) >= above[-1].lineno else None

    def written_out(self, node: ast.expr, depth: int = 4) -> Iterator[ast.AST]:
        """Yield what an expression is made of: its nodes, and those of what its names were given last above it."""
        for one in walk(node):
            yield one
            if isinstance(one, ast.Name) and depth:
                value = self.value_before(one)
                if value is not None:
                    yield from self.written_out(value, depth - 1)


def _parameters(arguments: ast.arguments) -> list[str]:
    every = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg)
    return [one.arg for one in every if one is not None]


def _attributes(cls: ast.ClassDef) -> set[str]:
    """Return the names that the statements of a class bind."""
    targets = [target for one in cls.body if isinstance(one, ast.Assign) for target in one.targets]
    targets += [one.target for one in cls.body if isinstance(one, ast.AnnAssign)]
    return {one.id for target in targets for one in nodes_of(target, ast.Name)}


def _pairs(node: ast.Assign) -> Iterator[tuple[str, ast.expr]]:
    """Yield the names that an assignment binds, with the value of each."""
    target, value = node.targets[0], node.value
    if len(node.targets) == 1 and isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
        for one, given in zip(target.elts, value.elts, strict=True):
            if isinstance(one, ast.Name) and not isinstance(given, ast.Starred):
                yield one.id, given


def bindings_of(function: Def | ast.Module) -> Bindings:
    """Return the names of a function or file; several rules ask for those of each."""
    kept = function.__dict__
    if "_bindings" not in kept:
        kept["_bindings"] = Bindings(function)
    found: Bindings = kept["_bindings"]
    return found


def functions_around(nodes: dict[type[ast.AST], list[ast.AST]], lines: list[int]) -> Iterator[Def]:
    """Yield the function definitions that one of some lines stands in."""
    lines = sorted(lines)
    for node in functions_of(nodes):
        at = bisect_left(lines, node.lineno)
        if at < len(lines) and lines[at] <= (node.end_lineno or 0):
            yield node


def functions_of(nodes: dict[type[ast.AST], list[ast.AST]]) -> Iterator[Def]:
    """Yield the function definitions among a tree's nodes."""
    for kind in (ast.FunctionDef, ast.AsyncFunctionDef):
        for node in nodes.get(kind, ()):
            if isinstance(node, Def):
                yield node


def function_around(parents: dict[ast.AST, ast.AST], node: ast.AST) -> Def | None:
    """Return the definition that something stands in."""
    while node in parents:
        node = parents[node]
        if isinstance(node, Def):
            return node
    return None


def loops_around(parents: dict[ast.AST, ast.AST], node: ast.AST) -> list[ast.For | ast.While]:
    """Return the loops that repeat something within its function, the innermost first."""
    found: list[ast.For | ast.While] = []
    while (parent := parents.get(node)) is not None:
        if isinstance(parent, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            break
        if isinstance(parent, ast.For | ast.While) and node in parent.body:
            found.append(parent)
        node = parent
    return found


def is_stub(node: Def) -> bool:
    """Say whether a function is there to be overridden: it does nothing, or only raises."""
    body = [one for one in node.body if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))]
    return all(isinstance(one, ast.Pass | ast.Raise | ast.Assert | ast.Import | ast.ImportFrom) for one in body)


def unread_parameter(source: Source, function: ast.AST, parameter: str) -> str:
    """Name the defect that a function never reads a parameter: several rules see it, at the function or at a call."""
    return f"{source.path}:{getattr(function, 'lineno', 0)} {parameter}"
