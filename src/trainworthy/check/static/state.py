"""What an interpreter holds while it runs."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from trainworthy.check.static.facts import Call, Context, Facts, LoopNode, With
from trainworthy.check.static.names import canonical
from trainworthy.check.static.project import Project
from trainworthy.check.static.scope import Scope
from trainworthy.check.static.source import Source
from trainworthy.check.static.values import UNKNOWN, Function, Instance, Module, ProjectClass, Ref, Value

# Statements run of one file, and as many of others that it imports and calls; what branches out further is left out.
_BUDGET, _BUDGET_PER_LINE = 3_000, 4
# Folders of a project that have a library's name never stand for it.
ALWAYS_OUTSIDE = frozenset(
    {"torch", "numpy", "os", "sys", "math", "random", "copy", "json", "pickle", "typing", "collections", "functools"}
)


@lru_cache(maxsize=16384)
def _reference(name: str) -> Ref:
    return Ref(canonical(name))


class State:
    """Facts, names and surroundings."""

    def __init__(self, main: Source, project: Project) -> None:
        self.main = main
        self.project = project
        self.facts = Facts()
        self.modules: dict[Source, Scope] = {}
        self.functions: list[Function] = []
        self.classes: list[ProjectClass] = []
        self.called: set[ast.AST] = set()
        self.budget = self.budget_elsewhere = _BUDGET + _BUDGET_PER_LINE * len(main.lines)
        self.context = Context(source=main)
        self.scope = Scope()
        self.returns: list[Value] = []
        self.defining_class: ProjectClass | None = None
        self.elements: dict[ast.AST, Value] = {}  # what comprehensions are made of
        self.running: set[ast.AST] = set()
        self.ways: dict[ast.AST, dict[tuple[object, ...], Value]] = {}  # by function: its results by arguments
        self.left_over: dict[ast.AST, Value] = {}  # by function that nothing calls: its result
        self._ticks = 0

    def spent(self, source: Source) -> bool:
        """Say whether no more of a file is run."""
        return (self.budget if source is self.main else self.budget_elsewhere) <= 0

    def tick(self) -> int:
        """Number what happens."""
        self._ticks += 1
        return self._ticks

    @contextmanager
    def within(
        self,
        *,
        source: Source | None = None,
        scope: Scope | None = None,
        loop: LoopNode | None = None,
        withs: tuple[With, ...] = (),
        branch: tuple[ast.expr, bool] | None = None,
        defining: ProjectClass | None = None,
    ) -> Iterator[None]:
        """Change what is around, and change it back."""
        context, old_scope, old_class = self.context, self.scope, self.defining_class
        if source is not None:
            self.context = Context(source=source)
            self.defining_class = None
        elif loop is not None:
            self.context = context.inside(loop=loop)
        elif withs:
            self.context = context.inside(withs=withs)
        elif branch is not None:
            self.context = context.inside(branch=branch)
        if scope is not None:
            self.scope = scope
        if defining is not None:
            self.defining_class = defining
        try:
            yield
        finally:
            self.context, self.scope, self.defining_class = context, old_scope, old_class

    @contextmanager
    def within_function(
        self, function: Function, scope: Scope, call: Call | None, withs: tuple[With, ...]
    ) -> Iterator[list[Value]]:
        """Run a function's body; yields the list that its returned values go to."""
        old = (self.context, self.scope, self.defining_class, self.returns)
        outer = self.context
        self.context = Context(
            source=function.source,
            function=function,
            withs=(outer.withs if call is not None else ()) + withs,
            callers=(*outer.callers, call) if call is not None else (),
        )
        self.scope, self.defining_class, self.returns = scope, None, []
        try:
            yield self.returns
        finally:
            self.context, self.scope, self.defining_class, self.returns = old

    def closure(self) -> Scope:
        """Return the scope that functions defined here see; that of a class body is not seen by its methods."""
        if self.defining_class is not None and self.scope.parent is not None:
            return self.scope.parent
        return self.scope

    def imported(self, name: str, *, level: int) -> Value:
        """Return a module by its full name, of the project or from outside."""
        if name.partition(".")[0] not in ALWAYS_OUTSIDE:
            source = self.project.find(name, importer=self.context.source.path, level=level)
            if source is not None:
                return Module(source, name)
        return self.outside(name)

    def module_value(self, source: Source, name: str = "") -> Value:
        """Return a module of the project as a value."""
        return Module(source, name)

    def outside(self, name: str) -> Value:
        """Return something of a library."""
        return _reference(name)

    def name_of(self, value: Value) -> str:
        """Name what a value is or is made by: ``torch.no_grad`` for ``torch.no_grad()`` and for itself."""
        if isinstance(value, Instance):
            return value.type
        if isinstance(value, Ref):
            return value.name
        return ""

    def entered(self, value: Value) -> Value:
        """Return what ``with value as name`` binds."""
        return value if isinstance(value, Instance) else UNKNOWN
