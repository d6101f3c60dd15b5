"""What the interpreter saw: calls, operators, assignments and loops, each with what is around it."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trainworthy.check.static.values import UNKNOWN, Const, Value

if TYPE_CHECKING:
    from trainworthy.check.static.source import Source
    from trainworthy.check.static.values import Function

LoopNode = ast.For | ast.AsyncFor | ast.While | ast.comprehension


@dataclass(slots=True, eq=False)
class With:
    """One item of a ``with`` (or a decorator that acts as one) that is open around something."""

    value: Value
    node: ast.AST
    name: str


@dataclass(slots=True, eq=False)
class Context:
    """What is around an expression.

    Attributes:
        source: The file.
        function: The function whose body it stands in; None at module level.
        loops: The loops around it within the function, outermost first.
        withs: The contexts open around it, those of callers included.
        branches: The conditions it stands under, and whether they are true there.
        callers: The calls on the way here, outermost first.
    """

    source: Source
    function: Function | None = None
    loops: tuple[LoopNode, ...] = ()
    withs: tuple[With, ...] = ()
    branches: tuple[tuple[ast.expr, bool], ...] = ()
    callers: tuple[Call, ...] = ()

    def inside(
        self,
        *,
        loop: LoopNode | None = None,
        withs: tuple[With, ...] = (),
        branch: tuple[ast.expr, bool] | None = None,
    ) -> Context:
        """Return the same with something more around; `dataclasses.replace` is slow."""
        return Context(
            self.source,
            self.function,
            self.loops if loop is None else (*self.loops, loop),
            self.withs + withs,
            self.branches if branch is None else (*self.branches, branch),
            self.callers,
        )

    @property
    def in_loop(self) -> bool:
        """Whether it runs more than once, seen from the outermost caller."""
        return bool(self.loops) or any(call.context.loops for call in self.callers)

    def all_loops(self) -> tuple[LoopNode, ...]:
        """Return the loops around it, those around the calls that lead here included."""
        outer = tuple(loop for call in self.callers for loop in call.context.loops)
        return outer + self.loops

    def under(self, *names: str) -> bool:
        """Say whether one of the contexts of that name is open here."""
        return any(one.name in names for one in self.withs)


@dataclass(slots=True, eq=False)
class Call:
    """A call.

    Attributes:
        node: The expression.
        name: Full name of what is called: ``torch.nn.Linear``, ``torch.optim.Adam.step``, ``torch.nn.Linear.__call__``;
            ``?.step`` where the object is not known, "" where nothing is.
        owner: The object whose method it is, or the object that is called.
        args: Positional arguments, up to a starred one.
        keywords: Arguments by name.
        starred: Whether ``*args`` or ``**kwargs`` hide some.
        context: What is around it.
        at: Its number in the order of analysis.
        result: What comes out.
        function: The function of the project that it runs, if that is known.
        hidden: What is known to be given by ``**``, by name.
    """

    node: ast.Call
    name: str
    owner: Value
    args: tuple[Value, ...]
    keywords: dict[str, Value]
    starred: bool
    context: Context
    at: int
    result: Value = UNKNOWN
    function: Function | None = None
    hidden: dict[str, Value] = field(default_factory=dict)

    def argument(self, at: int | None, name: str) -> Value | None:
        """Return an argument by place or name; None if it is not given."""
        if name in self.keywords:
            return self.keywords[name]
        if at is not None and at < len(self.args):
            return self.args[at]
        return None

    def argument_node(self, at: int | None, name: str) -> ast.expr | None:
        """Return the expression of an argument; None if it is not given."""
        for keyword in self.node.keywords:
            if keyword.arg == name:
                return keyword.value
        if at is not None and at < len(self.args) and at < len(self.node.args):
            return self.node.args[at]
        return None

    def has(self, at: int | None, name: str) -> bool:
        """Say whether an argument is given, or may be hidden in ``*`` or ``**``."""
        return self.starred or self.argument(at, name) is not None

    def constant(self, at: int | None, name: str) -> object:
        """Return the literal value of an argument; Ellipsis if it is not one or not given."""
        value = self.argument(at, name)
        return value.value if isinstance(value, Const) else ...

    @property
    def method(self) -> str:
        """The last part of the name."""
        return self.name.rpartition(".")[2]


@dataclass(slots=True, eq=False)
class Operation:
    """A binary operator, comparison, ``and``/``or``, or ``not`` with its operands; ``augmented`` for ``+=``."""

    node: ast.BinOp | ast.Compare | ast.BoolOp | ast.UnaryOp | ast.AugAssign
    operands: tuple[Value, ...]
    result: Value
    context: Context
    at: int


@dataclass(slots=True, eq=False)
class Store:
    """An assignment; ``owner`` is the object for attributes and subscripts, None for names."""

    node: ast.stmt
    target: ast.expr
    owner: Value | None
    value: Value
    context: Context
    at: int


@dataclass(slots=True, eq=False)
class Load:
    """An attribute read from a known object."""

    node: ast.Attribute
    owner: Value
    result: Value
    context: Context
    at: int


@dataclass(slots=True, eq=False)
class Iteration:
    """A ``for`` over something."""

    node: ast.For | ast.AsyncFor | ast.comprehension
    iterable: Value
    context: Context
    at: int


@dataclass(slots=True)
class Facts:
    """Everything seen, in order."""

    calls: list[Call] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    stores: list[Store] = field(default_factory=list)
    loads: list[Load] = field(default_factory=list)
    iterations: list[Iteration] = field(default_factory=list)
