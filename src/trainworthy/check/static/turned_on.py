"""Where a program turns evaluation mode on: in which functions, and on the way to which calls."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.everywhere import called_in, project_files, text_of
from trainworthy.check.static.external import is_module
from trainworthy.check.static.facts import Call
from trainworthy.check.static.mode_on_the_way import PutIntoTraining
from trainworthy.check.static.queries import inner_modules
from trainworthy.check.static.source import Source, kept_with_source
from trainworthy.check.static.tree import own, unparsed, walk
from trainworthy.check.static.values import Function, Instance

_MODE_NAME = re.compile(r"eval_?mode|set_?eval|to_?eval|eval_on|evaluating|test_?mode|set_?mode|set_?train|train_?mode")
NO_NETWORK = re.compile(r"(^|_)(criterions?|loss|losses|loss_fn|loss_func|metrics?|trainer|agent|evaluator)$")
_OPTIONS = re.compile(r"(^|_)(args|opts?|options|cfg|config|params|flags|hparams|parser|self)$", re.IGNORECASE)


class Modes:
    """Where evaluation mode is turned on, in what this program reaches."""

    def __init__(self, analysis: Analysis) -> None:
        self._analysis = analysis
        self.calls = [
            call
            for call in (*analysis.method_calls("eval"), *analysis.method_calls("train"))
            if isinstance(call.node.func, ast.Attribute) and turns_evaluation_on(call.node)
        ]
        self._nowhere = not self.calls and not _turn_evaluation_on(walk(analysis.source.tree))

    @cached_property
    def reach(self) -> _Reach:
        """Which functions turn it on."""
        return _Reach(self._analysis)

    @cached_property
    def _put_into_training(self) -> PutIntoTraining:
        names = self.reach.names
        more = [one for one in self._analysis.all_calls if last_name(one.node.func) in names or _sets_a_mode(one)]
        return PutIntoTraining(self._analysis, [*self.calls, *more])

    def keeps_training(self, call: Call) -> bool:
        """Say whether the way to a call puts the model into training mode, and nothing after that into the other."""
        if any("eval" in unparsed(one.node).lower() for one in call.context.withs if isinstance(one.node, ast.expr)):
            return False
        # What a function does that was run before is not seen again: none of these may turn it on.
        again = next((at for at, one in enumerate(call.context.callers) if one.at == call.at), None)
        if again is not None:
            left = [one.function for one in call.context.callers[again:]]
            if any(one is None or one.name in self.reach.names for one in left):
                return False
        return self._put_into_training.before(call) is not None

    def may_evaluate(self, call: Call) -> bool:
        """Say whether any may be about what is called: the same object, one that holds it, an unknown one."""
        if any("eval" in unparsed(one.node).lower() for one in call.context.withs if isinstance(one.node, ast.expr)):
            return True
        if self._nowhere:
            return False
        if not self.reach.leads_to(call):
            return False
        if not isinstance(call.owner, Instance) or not is_module(call.owner):
            return True
        name = last_name(call.node.func)
        for one in self.calls:
            if isinstance(one.owner, Instance) and is_module(one.owner):
                kind = (call.owner.type, call.owner.cls)
                if any((inner.type, inner.cls) == kind for inner in inner_modules(one.owner)):
                    return True
            elif last_name(getattr(one.node.func, "value", one.node.func)) in (name, "self") or name == "self":
                return True
        return False


class _Mentions(NamedTuple):
    """What a function calls, by name, and whether it turns evaluation mode on itself."""

    name: str
    called: frozenset[str]
    turns_on: bool


@kept_with_source
def _functions_of(source: Source) -> tuple[_Mentions, ...]:
    return tuple(
        _Mentions(node.name, frozenset(_called(own(node)) | _wrapped_in(node)), _turn_evaluation_on(own(node)))
        for node in walk(source.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def _wrapped_in(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """Name the decorators of a function, and what a function returns that is made in it, as a decorator does."""
    above = {last_name(one.func if isinstance(one, ast.Call) else one) for one in function.decorator_list}
    made = {one.name for one in function.body if isinstance(one, ast.FunctionDef)}
    return above | (made & {last_name(one.value) for one in own(function) if isinstance(one, ast.Return) and one.value})


def _turn_evaluation_on(nodes: Iterable[ast.AST]) -> bool:
    """Say whether any of some nodes does, or may."""
    called = {one.func for one in nodes if isinstance(one, ast.Call)}
    return any(turns_evaluation_on(one) for one in nodes if one not in called)


def turns_evaluation_on(node: ast.AST) -> bool:
    """Say whether a node may turn evaluation mode on: `model.eval()`, `model.train(flag)`, `x.training = ...`."""
    if isinstance(node, ast.Call):
        name = last_name(node.func)
        of = last_name(node.func.value).lower() if isinstance(node.func, ast.Attribute) else ""
        if name == "eval" and isinstance(node.func, ast.Attribute):
            return not node.args and not node.keywords and not NO_NETWORK.search(of)
        if name == "train" and isinstance(node.func, ast.Attribute):
            given = [*node.args, *(one.value for one in node.keywords)]
            always = len(given) == 1 and isinstance(given[0], ast.Constant) and given[0].value is True
            return len(given) == 1 and not always and not NO_NETWORK.search(of)
        return _MODE_NAME.search(name.lower()) is not None
    if isinstance(node, ast.Attribute) and node.attr == "training":
        return isinstance(node.ctx, ast.Store)
    is_handed_on = isinstance(node, ast.Attribute) and node.attr == "eval" and isinstance(node.ctx, ast.Load)
    return is_handed_on and not _OPTIONS.search(last_name(node.value))  # type: ignore[attr-defined]


class _Reach:
    """Which functions turn evaluation mode on, themselves or through what they call, and who calls whom, by name."""

    def __init__(self, analysis: Analysis) -> None:
        functions = [one for source in analysis.sources for one in _functions_of(source)]
        self.names = {one.name for one in functions if one.turns_on}
        while True:
            more = {one.name for one in functions if one.called & self.names} - self.names
            if not more:
                break
            self.names |= more
        top = own(analysis.source.tree)
        self.top_calls = _called(top)
        self.top = _turn_evaluation_on(top) or bool(self.top_calls & self.names)
        self.callers: dict[str, set[str]] = {}
        for one in functions:
            for name in one.called:
                self.callers.setdefault(name, set()).add(one.name)

    def leads_to(self, call: Call) -> bool:
        """Say whether evaluation mode may be on at a call: its function, or one on a way to it, may turn it on."""
        function = call.context.function
        if function is None:
            return self.top
        if has_backward(function.node):  # it trains, too: no caller can have turned it on for all of it
            return function.name in self.names
        members = _members_around(function)
        if any(name in self.names and _SETS_UP.search(name) for name in members):
            return True
        seen: set[str] = set()
        left = {function.name, *_functions_around(function)}
        while left:
            name = left.pop()
            seen.add(name)
            if name in self.names or (self.top and name in self.top_calls):
                return True
            left |= self.callers.get(name, set()) - seen
        if function.name in self.callers or function.name in self.top_calls:
            return False
        return _others_may_evaluate(call.context.source, function.name)


def _others_may_evaluate(source: Source, name: str) -> bool:
    """Say whether nobody in the project calls a function, or a file that does also turns evaluation mode on."""
    files = project_files(source.path) or ()
    own_path = str(Path(source.path).resolve()) if files else ""
    users = [one for one in files if name in called_in(one) and str(Path(one).resolve()) != own_path]
    return not users or any(_EVAL_TEXT.search(text_of(one)) for one in users)


_EVAL_TEXT = re.compile(r"\.eval\(\s*\)|\.train\(\s*(mode\s*=\s*)?False|eval_mode|set_eval")


@kept_with_source
def _definitions(source: Source) -> tuple[tuple[ast.FunctionDef, ...], tuple[ast.ClassDef, ...]]:
    nodes = list(walk(source.tree))
    return (
        tuple(one for one in nodes if isinstance(one, ast.FunctionDef)),
        tuple(one for one in nodes if isinstance(one, ast.ClassDef)),
    )


def _functions_around(function: Function) -> set[str]:
    """Return the names of the functions that a function is defined in: they prepare what it uses."""
    first = function.node.lineno
    functions, _ = _definitions(function.source)
    return {one.name for one in functions if one.lineno < first <= (one.end_lineno or 0)}


def _members_around(function: Function) -> set[str]:
    """Return the names of the methods of the class that a function, or the one around it, is in."""
    first, (_, classes) = function.node.lineno, _definitions(function.source)
    around = [one for one in classes if one.lineno <= first <= (one.end_lineno or 0)]
    owner = function.owner.members if function.owner is not None else {}
    return set(owner) | {getattr(one, "name", "") for cls in around for one in cls.body}


_SETS_UP = re.compile(r"^__|setup|set_|_set|load|build|prepare|init|config|^on_|mode|before|begin|start|pre_|eval_?$")


def _called(nodes: Iterable[ast.AST]) -> set[str]:
    """Name what is called, or handed over, as to what times it or runs it in a pool: it is called there."""
    calls = [one for one in nodes if isinstance(one, ast.Call)]
    given = [arg for one in calls for arg in (*one.args, *(each.value for each in one.keywords))]
    methods = (one for one in given if isinstance(one, ast.Attribute) and last_name(one.value) == "self")
    handed = {last_name(one) for one in (*methods, *(one for one in given if isinstance(one, ast.Name)))}
    return {last_name(one.func) for one in calls} | handed


def _sets_a_mode(call: Call) -> bool:
    """Say whether a call, by its name, may set a mode: of a context, or of what is not known."""
    return _MODE_NAME.search(last_name(call.node.func).lower()) is not None


def has_backward(node: ast.AST) -> bool:
    """Say whether a backward pass is below a node."""
    return any(getattr(one, "attr", "") == "backward" for one in walk(node))
