"""What the function of a static rule gets: everything the interpreter saw in one file, by name."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property

from trainworthy.check.finding import Place
from trainworthy.check.static.facts import Call, Context, Iteration, Load, Operation, Store
from trainworthy.check.static.interpreter import Interpreter
from trainworthy.check.static.project import Project
from trainworthy.check.static.source import Source
from trainworthy.check.static.tree import children, walk
from trainworthy.check.static.values import UNKNOWN, Function, ProjectClass, Sequence, Value, join

_WORTH_RUNNING = (
    "torch",
    "numpy",
    "lightning",
    "transformers",
    "accelerate",
    "multiprocessing",
    "gymnasium",
    "backward(",
    ".eval()",
)


class Analysis:
    """One file, understood as far as it can be."""

    def __init__(self, source: Source, project: Project | None = None) -> None:
        self.source = source
        self.project = project or Project()
        self.project.add(source)
        self._interpreter = Interpreter(source, self.project)
        if any(word in source.text for word in _WORTH_RUNNING):
            self._interpreter.run_module(source)
        self._facts = self._interpreter.facts

    # --- facts ------------------------------------------------------------------------------------------------------

    @cached_property
    def all_calls(self) -> list[Call]:
        """Every call that this file makes or leads to, in the order of analysis."""
        return [call for call in self._facts.calls if self._ours(call.context)]

    @cached_property
    def callers(self) -> set[int]:
        """The identities of the calls that led to others."""
        return {id(caller) for one in self.all_calls for caller in one.context.callers}

    @cached_property
    def _calls_by_name(self) -> dict[str, list[Call]]:
        return _grouped(self.all_calls, lambda call: call.name)

    @cached_property
    def _calls_by_method(self) -> dict[str, list[Call]]:
        return _grouped(self.all_calls, lambda call: call.method)

    @cached_property
    def call_at(self) -> dict[ast.Call, Call]:
        """The calls by where they stand; of one that was met in several ways the last."""
        return {call.node: call for call in self.all_calls}

    def calls(self, *names: str) -> Iterator[Call]:
        """Yield calls by full name; several names are taken one after the other."""
        for name in names:
            yield from self._calls_by_name.get(name, ())

    def method_calls(self, *methods: str) -> Iterator[Call]:
        """Yield calls by the last part of their name, whatever they are methods of."""
        for method in methods:
            yield from self._calls_by_method.get(method, ())

    @cached_property
    def operations(self) -> list[Operation]:
        """Operators and comparisons."""
        return [one for one in self._facts.operations if self._ours(one.context)]

    @cached_property
    def stores(self) -> list[Store]:
        """Assignments."""
        return [one for one in self._facts.stores if self._ours(one.context)]

    @cached_property
    def loads(self) -> list[Load]:
        """Attributes read from known objects."""
        return [one for one in self._facts.loads if self._ours(one.context)]

    @cached_property
    def iterations(self) -> list[Iteration]:
        """Loops over something."""
        return [one for one in self._facts.iterations if self._ours(one.context)]

    @property
    def finished(self) -> bool:
        """Whether the whole file was run, and all that it calls; what branches out too far is run in part."""
        return self._interpreter.budget > 0 and self._interpreter.budget_elsewhere > 0

    @property
    def ran(self) -> bool:
        """Whether the whole file was run, be it without some of what it calls in others."""
        return self._interpreter.budget > 0

    @property
    def classes(self) -> list[ProjectClass]:
        """The classes of this file."""
        return [one for one in self._interpreter.classes if one.source is self.source]

    @property
    def functions(self) -> list[Function]:
        """The functions of this file."""
        return [one for one in self._interpreter.functions if one.source is self.source]

    def element(self, sequence: Sequence) -> Value:
        """Return what a list of unknown length is made of."""
        return self._interpreter.element(sequence)

    def element_of(self, node: ast.AST) -> Value:
        """Return what a comprehension makes."""
        return self._interpreter.elements.get(node, UNKNOWN)

    def _ours(self, context: Context) -> bool:
        return context.source is self.source or bool(
            context.callers and context.callers[0].context.source is self.source
        )

    def returned(self, function: Value | None) -> Value:
        """Return what a function returned in the ways that it was run, joined; nothing is known if it was not."""
        if not isinstance(function, Function):
            return UNKNOWN
        ways = list(self._interpreter.ways.get(function.node, {}).values())
        result = ways[0] if ways else self._interpreter.left_over.get(function.node, UNKNOWN)
        for one in ways[1:]:
            result = join(result, one)
        return result

    # --- text and tree ----------------------------------------------------------------------------------------------

    def place(self, node: ast.AST, context: Context | None = None) -> Place:
        """Return where a node stands."""
        return (self.source if context is None else context.source).place(node)

    def segment(self, node: ast.AST, context: Context | None = None) -> str:
        """Return a node's text."""
        return (self.source if context is None else context.source).segment(node)

    @property
    def sources(self) -> Iterable[Source]:
        """This file and those of the project that it imports."""
        return self._interpreter.modules.keys() | {self.source}

    def mentions(self, *names: str) -> bool:
        """Say whether a word occurs anywhere in this file or what it imports of the project, comment lines left out."""
        return any(not source.words.isdisjoint(names) for source in self.sources)

    @cached_property
    def nodes(self) -> dict[type[ast.AST], list[ast.AST]]:
        """The tree's nodes by kind."""
        found: dict[type[ast.AST], list[ast.AST]] = defaultdict(list)
        for node in walk(self.source.tree):
            found[type(node)].append(node)
        return found

    @cached_property
    def parents(self) -> dict[ast.AST, ast.AST]:
        """The node around each node."""
        return {child: node for node in walk(self.source.tree) for child in children(node)}


def _grouped(calls: list[Call], key: Callable[[Call], str]) -> dict[str, list[Call]]:
    found: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        found[key(call)].append(call)
    return found
