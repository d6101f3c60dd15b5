"""A file into which mistakes are put: its tree, who is around a node, and edits that keep the other lines in place."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

Edit = tuple[int, int, bytes]  # from, to and what comes instead, in bytes of the source
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
LOOPS = (ast.For, ast.AsyncFor, ast.While)
Scope = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """One mistake at one place: the edits that make it."""

    line: int
    edits: tuple[Edit, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of mistake: the row of the catalogue, the rules that are about it, and where it can be made."""

    name: str
    row: str
    codes: tuple[str, ...]
    places: Callable[[Program], Iterator[Injection]]


KINDS: list[Kind] = []


def kind(
    name: str, row: str, *codes: str
) -> Callable[[Callable[[Program], Iterator[Injection]]], Callable[[Program], Iterator[Injection]]]:
    """Register a function that yields the places of a kind."""

    def register(places: Callable[[Program], Iterator[Injection]]) -> Callable[[Program], Iterator[Injection]]:
        KINDS.append(Kind(name=name, row=row, codes=codes, places=places))
        return places

    return register


@dataclass
class Program:
    """One file."""

    source: bytes
    tree: ast.Module = field(init=False)

    def __post_init__(self) -> None:
        """Parse; raises SyntaxError or ValueError."""
        self.tree = ast.parse(self.source)

    @cached_property
    def parents(self) -> dict[ast.AST, ast.AST]:
        """Who is directly around each node."""
        return {child: node for node in self.nodes for child in ast.iter_child_nodes(node)}

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """Every node."""
        return list(ast.walk(self.tree))

    @cached_property
    def calls_by_name(self) -> dict[str, list[ast.Call]]:
        """Every call by the last part of the name that is called."""
        found: dict[str, list[ast.Call]] = {}
        for node in self.nodes:
            if isinstance(node, ast.Call):
                found.setdefault(called(node), []).append(node)
        return found

    @cached_property
    def starts(self) -> list[int]:
        """Where each line starts."""
        starts = [0]
        for line in self.source.splitlines(keepends=True):
            starts.append(starts[-1] + len(line))
        return starts

    @cached_property
    def text(self) -> str:
        """The source as text."""
        return self.source.decode(errors="replace")

    # --- where something is ------------------------------------------------------------------------------------------

    def around(self, node: ast.AST) -> Iterator[ast.AST]:
        """Yield what is around a node, from the inside out."""
        while node in self.parents:
            node = self.parents[node]
            yield node

    def scope(self, node: ast.AST) -> Scope:
        """Return the function around a node, or the module."""
        return next((one for one in self.around(node) if isinstance(one, FUNCTIONS)), self.tree)

    def statement(self, node: ast.AST) -> ast.stmt:
        """Return the statement a node belongs to."""
        return node if isinstance(node, ast.stmt) else next(o for o in self.around(node) if isinstance(o, ast.stmt))

    def loops(self, node: ast.AST) -> list[ast.For | ast.AsyncFor | ast.While]:
        """Return the loops of its function around a node, the innermost first."""
        found: list[ast.For | ast.AsyncFor | ast.While] = []
        for one in self.around(node):
            if isinstance(one, FUNCTIONS):
                break
            if isinstance(one, LOOPS):
                found.append(one)
        return found

    def block(self, statement: ast.stmt) -> list[ast.stmt]:
        """Return the statements beside one, itself included."""
        outer = self.parents[statement]
        for name in ("body", "orelse", "finalbody"):
            block = getattr(outer, name, [])
            if isinstance(block, list) and statement in block:
                return block
        return [statement]

    def module_class(self, node: ast.AST) -> ast.ClassDef | None:
        """Return the class around a node if it looks like a network."""
        outer = next((one for one in self.around(node) if isinstance(one, ast.ClassDef)), None)
        return outer if outer is not None and any("Module" in ast.unparse(base) for base in outer.bases) else None

    # --- what is there -----------------------------------------------------------------------------------------------

    def calls(self, *names: str, within: ast.AST | None = None) -> Iterator[ast.Call]:
        """Yield calls of a function or method of one of these names."""
        for name in names:
            for call in self.calls_by_name.get(name, ()):
                if within is None or within is self.tree or within in self.around(call):
                    yield call

    def statements(self, *names: str, within: ast.AST | None = None) -> Iterator[tuple[ast.Expr, ast.Call]]:
        """Yield statements that only call a method of one of these names."""
        for call in self.calls(*names, within=within):
            outer = self.parents[call]
            if isinstance(outer, ast.Expr) and isinstance(call.func, ast.Attribute):
                yield outer, call

    # --- edits -------------------------------------------------------------------------------------------------------

    def span(self, node: ast.expr | ast.stmt | ast.keyword) -> tuple[int, int]:
        """Return where a node's text begins and ends."""
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return (self.starts[node.lineno - 1] + node.col_offset, self.starts[node.end_lineno - 1] + node.end_col_offset)

    def of(self, node: ast.expr | ast.stmt | ast.keyword) -> str:
        """Return a node's text."""
        start, end = self.span(node)
        return self.source[start:end].decode(errors="replace")

    def put(self, node: ast.expr | ast.stmt | ast.keyword, text: str) -> Edit:
        """Write a text in place of a node; an expression of several lines keeps their number."""
        start, end = self.span(node)
        return start, end, text.encode()

    def drop(self, statement: ast.stmt) -> Edit:
        """Take a statement away, leaving empty lines."""
        start, end = self.span(statement)
        alone = len(self.block(statement)) == 1
        return start, end, (b"pass" if alone else b"") + b"\n" * self.source[start:end].count(b"\n")

    def before(self, statement: ast.stmt, text: str) -> Edit:
        """Write a statement before another, on lines of its own."""
        start = self.span(statement)[0]
        return start, start, f"{text}\n{' ' * statement.col_offset}".encode()

    def after(self, statement: ast.stmt, text: str) -> Edit:
        """Write a statement after another."""
        end = self.span(statement)[1]
        return end, end, f"\n{' ' * statement.col_offset}{text}".encode()

    def without(self, call: ast.Call, keyword: ast.keyword) -> Edit:
        """Take a keyword out of a call, with the comma that belongs to it."""
        start, end = self.span(keyword)
        rest = self.source[end : self.span(call)[1]]
        comma = len(rest) - len(rest.lstrip()) if rest.lstrip().startswith(b",") else None
        if comma is not None:
            return start, end + comma + 1, b""
        head = self.source[:start].rstrip()
        return (len(head) - 1 if head.endswith(b",") else start), end, b""

    def swap(self, first: ast.stmt, second: ast.stmt) -> tuple[Edit, Edit]:
        """Exchange two statements of one block."""
        return self.put(first, self.of(second)), self.put(second, self.of(first))

    def apply(self, injection: Injection) -> bytes | None:
        """Return the source with the mistake; None if it no longer parses or says the same."""
        source = self.source
        for start, end, text in sorted(injection.edits, reverse=True):
            source = source[:start] + text + source[end:]
        try:
            return source if ast.dump(ast.parse(source)) != ast.dump(self.tree) else None
        except (SyntaxError, ValueError):
            return None


def called(call: ast.Call) -> str:
    """Return the last part of the name that is called."""
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def receiver(call: ast.Call) -> str:
    """Return what a method is called on, as text."""
    return ast.unparse(call.func.value) if isinstance(call.func, ast.Attribute) else ""


def keyword(call: ast.Call, name: str) -> ast.keyword | None:
    """Return a keyword of a call."""
    return next((one for one in call.keywords if one.arg == name), None)


def has(node: ast.AST, *names: str) -> bool:
    """Say whether a name, an attribute or a call of one of these names is within."""
    return any(
        (isinstance(one, ast.Attribute) and one.attr in names) or (isinstance(one, ast.Name) and one.id in names)
        for one in ast.walk(node)
    )
