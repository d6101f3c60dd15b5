"""Training and evaluation mode: what a program turns on and off, and what it leaves so."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.external import is_module
from trainworthy.check.static.facts import Call, LoopNode
from trainworthy.check.static.queries import body_of, inner_modules, once_per_place, receiver
from trainworthy.check.static.tree import nodes_of, unparsed, walk
from trainworthy.check.static.values import Const, Function, Instance, Parameters, Value

NO_GRAD = ("torch.no_grad", "torch.inference_mode", "torch.autograd.grad_mode.inference_mode")
_LOSS = re.compile(r"(^|[._])(criterion|criterions|loss|losses|loss_fn|loss_func|metric)s?$")
_TRAINS = re.compile(r"train(?!able|er|_?(loss|data|loader|iter|set|acc))")
_MODE_SET = re.compile(r"\.training\s*=[^=]")


# --- evaluation mode that stays -------------------------------------------------------------------------------------


def kept_evaluation_modes(analysis: Analysis) -> Iterator[tuple[Call, Call, Value]]:
    """Yield an `eval()`, the backward pass that the next turn of their loop runs in that mode, and the model."""
    backwards = list(analysis.method_calls("backward"))
    if not backwards or any(_MODE_SET.search(source.code) for source in analysis.sources):
        return
    trained = _Trained(analysis)
    back = [call for call in analysis.method_calls("train") if _may_turn_training_on(call)]
    done: set[ast.AST] = set()
    evals = list(analysis.method_calls("eval"))
    for call in evals:  # each of the ways that lead to it
        if call.node in done or call.node.args or call.node.keywords or call.context.under("torch.jit"):
            continue
        for backward in backwards:
            loop = _innermost_shared(backward, call)
            elsewhere = call.context.function is not backward.context.function
            if loop is None or not (
                call.at > backward.at
                or elsewhere
                or _begins_a_turn(call, loop)
                or _evaluates_beside(analysis, call, backward)
            ):
                continue
            if not trained.has(call, backward):
                continue
            if (
                _comes_back(analysis, call, back, loop)
                or _leaves(loop, call)
                or _is_meant(trained, evals, backward, loop)
                or _is_frozen(call)
                or _AVERAGE.search(receiver(call))
            ):
                continue
            done.add(call.node)
            yield _in_this_file(analysis, call, loop), backward, call.owner
            break


# Copies that follow a model and are not trained themselves.
_AVERAGE = re.compile(r"(^|[_.])(ema|avg|averaged?|swa|shadow|teacher)(_|\.|$)")


def _is_frozen(call: Call) -> bool:
    """Say whether what is put into evaluation mode is frozen in the same function: a teacher, which does not train."""
    return any(
        isinstance(one, ast.Call)
        and unparsed(one.func) == f"{receiver(call)}.requires_grad_"
        and [unparsed(given) for given in (*one.args, *(each.value for each in one.keywords))] == ["False"]
        for one in walk(body_of(call.context))
    )


def _is_meant(trained: _Trained, evals: list[Call], backward: Call, loop: LoopNode) -> bool:
    """Say whether the function that trains begins with an `eval()` of what it trains, in each turn of a loop around."""
    function = backward.context.function
    return function is not None and any(
        one.context.function is function
        and one.at < backward.at
        and loop in one.context.all_loops()
        and not one.context.loops
        and any(isinstance(line, ast.Expr) and line.value is one.node for line in getattr(function.node, "body", ()))
        and trained.has(one, backward)
        and not any(_is_quiet_use(call, one, backward) for call in trained.calls)
        for one in evals
    )


def _is_quiet_use(call: Call, first: Call, last: Call) -> bool:
    """Say whether a model is called without gradients between two other calls of one function."""
    between = first.at < call.at < last.at and call.context.function is first.context.function
    return between and call.context.under(*NO_GRAD) and unparsed(call.node.func) == receiver(first)


def _begins_a_turn(call: Call, loop: LoopNode) -> bool:
    """Say whether a call stands under no condition in an epoch's loop, which trains in that mode then."""
    return (
        isinstance(loop, ast.For)
        and "epoch" in unparsed(loop.target).lower()
        and call.context.loops[-1:] == (loop,)
        and any(isinstance(one, ast.Expr) and one.value is call.node for one in loop.body)
    )


def _evaluates_beside(analysis: Analysis, call: Call, backward: Call) -> bool:
    """Say whether a block of a turn, in which nothing trains, calls `eval()` and then what it was called on.

    A block that only calls `eval()`, as to keep batch norm as it is from some epoch on, means the training.
    """
    node: ast.AST = call.node
    around: list[ast.AST] = []
    while node in analysis.parents and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        node = analysis.parents[node]
        if isinstance(node, ast.If | ast.For | ast.While | ast.With):
            around.append(node)
    blocks = [one for one in around if backward.node not in walk(one)]
    if not blocks:
        return False
    within = set(walk(blocks[-1]))
    name = receiver(call)
    return any(
        one.at > call.at
        and one.node in within
        and (unparsed(one.node.func) == name or _named_for_evaluation(one, name))
        for one in analysis.all_calls
    )


_FOR_EVALUATION = re.compile(r"(^|_)(eval|evaluate|validate|validation|val|test)($|_)")


def _named_for_evaluation(call: Call, name: str) -> bool:
    """Say whether a model is given to what is named for evaluating it."""
    given = (*call.node.args, *(one.value for one in call.node.keywords))
    return _FOR_EVALUATION.search(last_name(call.node.func)) is not None and name in map(unparsed, given)


def _may_turn_training_on(call: Call) -> bool:
    """Say whether a call named `train` may set the mode of a network; a function of the project is looked into."""
    own = call.function is not None and not is_module(call.owner)
    return call.constant(0, "mode") is not False and not own and not _LOSS.search(receiver(call))


def _in_this_file(analysis: Analysis, call: Call, loop: LoopNode) -> Call:
    """Return the call in the loop that leads to what sets the mode in another file."""
    if call.context.source is analysis.source:
        return call
    return next((one for one in call.context.callers if loop in one.context.loops), call)


def _innermost_shared(a: Call, b: Call) -> LoopNode | None:
    """Return the innermost loop that may run both: not one whose turns all take the one way or the other."""
    others = set(b.context.all_loops())
    shared = [loop for loop in a.context.all_loops() if loop in others and isinstance(loop, ast.For | ast.While)]
    return next((loop for loop in reversed(shared) if not _either_or(a, b, loop)), None)


def _either_or(a: Call, b: Call, loop: LoopNode) -> bool:
    """Say whether contrary values of a name that a loop does not set lead to two calls."""
    held = {(test.id, truth) for test, truth in _conditions_in(a, loop) if isinstance(test, ast.Name)}
    others = {(test.id, truth) for test, truth in _conditions_in(b, loop) if isinstance(test, ast.Name)}
    contrary = {name for name, truth in others if (name, not truth) in held}
    stored = {one.id for one in nodes_of(loop, ast.Name) if isinstance(one.ctx, ast.Store)}
    return bool(contrary - stored)


def _conditions_in(call: Call, loop: LoopNode) -> Iterator[tuple[ast.expr, bool]]:
    """Yield what must be so or not for a call, among the conditions of the function that a loop stands in."""
    for one in (*call.context.callers, call):
        left = list(one.context.branches) if loop in one.context.loops else []
        for test, truth in left:  # which grows
            if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
                left.append((test.operand, not truth))
            elif isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And) is truth:
                left += [(part, truth) for part in test.values]
            else:
                yield test, truth


def _comes_back(analysis: Analysis, call: Call, back: list[Call], loop: LoopNode) -> bool:
    """Say whether anything in the loop may set training mode: `train()`, or a call named so."""
    for one in back:
        known_other = (
            isinstance(one.owner, Instance) and isinstance(call.owner, Instance) and not _holds(one.owner, call.owner)
        )
        if loop in one.context.all_loops() and not known_other:
            return True
    for one in analysis.all_calls:
        if loop not in one.context.all_loops():
            continue
        unknown = (not one.name or one.name.startswith("?.")) and not _LOSS.search(receiver(one))
        if (unknown and _TRAINS.search(last_name(one.node.func).lower())) or _is_abstract(one):
            return True
    return False


def _holds(module: Instance, other: Instance) -> bool:
    """Say whether a module is another, has it in it, or was given it when it was made."""
    left, seen = [module], set[int]()
    for one in left:  # which grows
        if one is other:
            return True
        seen.add(id(one))
        given = (*one.made_by.args, *one.made_by.keywords.values()) if one.made_by is not None else ()
        inside = [*inner_modules(one), *(each for each in given if isinstance(each, Instance))]
        left += [each for each in inside if id(each) not in seen and len(left) < _MOST_INSIDE]
    return False


_MOST_INSIDE = 1000


def _is_abstract(call: Call) -> bool:
    """Say whether a method is called that subclasses are to write: what it does is not known."""
    cls = call.owner.cls if isinstance(call.owner, Instance) else None
    member = cls.lookup(call.method) if cls is not None else None
    if not isinstance(member, Function) or isinstance(member.node, ast.Lambda):
        return False
    body = [one for one in member.node.body if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))]
    return all(isinstance(one, ast.Pass | ast.Raise) for one in body)


def _leaves(loop: LoopNode, call: Call) -> bool:
    """Say whether the loop is left in the turn that sets evaluation mode."""
    anchors = {call.node, *(one.node for one in call.context.callers)}
    return _block_leaves(loop.body, anchors)  # type: ignore[union-attr]


def _block_leaves(statements: list[ast.stmt], anchors: set[ast.Call]) -> bool:
    for at, statement in enumerate(statements):
        if not any(one in anchors for one in walk(statement)):
            continue
        if any(isinstance(one, ast.Break | ast.Return | ast.Raise) for one in statements[at:]):
            return True
        for name in ("body", "orelse", "finalbody"):
            inner = getattr(statement, name, None)
            if (
                isinstance(inner, list)
                and not isinstance(statement, ast.For | ast.While)
                and _block_leaves(inner, anchors)
            ):
                return True
    return False


class _Trained:
    """Which models a program trains: objects whose parameters an optimizer has, and names that are used so."""

    def __init__(self, analysis: Analysis) -> None:
        self.objects: set[int] = set()
        self.names: set[tuple[object, str]] = set()
        self.calls = analysis.all_calls
        for call in analysis.method_calls("parameters", "named_parameters"):
            if isinstance(call.result, Parameters) and isinstance(call.owner, Instance):
                self.objects.add(id(call.owner))
            self.names.add((call.context.source, receiver(call)))

    def has(self, call: Call, backward: Call) -> bool:
        """Say whether what a call is a method of is trained by the function that a backward pass stands in."""
        if is_module(call.owner):
            return id(call.owner) in self.objects or self._wrapped(call.owner)
        name = receiver(call)
        if call.context.function is not backward.context.function:
            if self._in_both(call, name, backward):
                return True
            name = _as_the_caller_says(call, name, backward.context.function)
        called = self._called(backward)
        if name.endswith("]") and not name.endswith(("']", '"]')):  # each of a table's
            table = name[: name.rindex("[") + 1]
            return any(one.startswith(table) for one in called)
        optimised = (backward.context.source, name) in self.names and not self._steps_for_another(name, backward)
        return bool(name) and (optimised or name in called)

    def _steps_for_another(self, name: str, backward: Call) -> bool:
        """Say whether all steps beside a backward pass are of other parts: `optimizer["d"].step()` for `model.g`."""
        whole, _, part = name.rpartition(".")
        others = [each for _, each in self.names if whole and each.startswith(f"{whole}.")]
        parts = {each.rpartition(".")[2] for each in others} - {part}
        steps = [
            set(re.findall(r"\w+", receiver(one)))
            for one in self.calls
            if one.method == "step"
            and one.context.function is backward.context.function
            and one.context.loops == backward.context.loops
        ]
        return bool(steps) and all(part not in words and words & parts for words in steps)

    def _in_both(self, call: Call, name: str, backward: Call) -> bool:
        """Say whether the function that leads to both gives one thing to both: to what evaluates and what trains."""
        ways = ((*one.context.callers, one) for one in (call, backward))
        shared = next((a for a, b in zip(*ways, strict=False) if a is not b), None)
        if shared is None:
            return False
        frame = shared.context.function
        given = _as_the_caller_says(call, name, frame)
        return bool(given) and any(given == _as_the_caller_says(backward, one, frame) for one in self._called(backward))

    def _called(self, backward: Call) -> set[str]:
        """Write what is called with gradients before a backward pass of the same turn."""
        return {
            unparsed(one.node.func)
            for one in self.calls
            if one.at < backward.at
            and one.context.function is backward.context.function
            and one.context.loops == backward.context.loops
            and not one.context.under(*NO_GRAD)
        }

    def _wrapped(self, owner: Value) -> bool:
        inner = owner.attrs.get("module") if isinstance(owner, Instance) else None
        return inner is not None and id(inner) in self.objects


def _as_the_caller_says(call: Call, name: str, wanted: Function | None) -> str:
    """Return what a function on the way to a call calls its object; "" where that is not clear."""
    function = call.context.function
    for caller in reversed(call.context.callers):
        if function is wanted or name.startswith("self."):
            return name
        if function is None:
            return ""
        name = _given_as(caller.node, function, name)
        function = caller.context.function
    return name if function is wanted or name.startswith("self.") else ""


def _given_as(caller: ast.Call, function: Function, name: str) -> str:
    """Write what a call gives for a parameter; "" if it is none, or not given."""
    arguments = [one.arg for one in (*function.node.args.posonlyargs, *function.node.args.args)]
    for keyword in caller.keywords:
        if keyword.arg == name:
            return unparsed(keyword.value)
    if arguments[:1] == ["self"]:
        arguments = arguments[1:]
    at = arguments.index(name) if name in arguments else len(caller.args)
    return unparsed(caller.args[at]) if at < len(caller.args) else ""


# --- training mode within evaluation --------------------------------------------------------------------------------


def training_mode_without_gradients(analysis: Analysis) -> Iterator[tuple[Call, Call]]:
    """Yield `train()` of a model that was put into evaluation mode, and its next call, both where gradients are off."""
    evals = list(analysis.method_calls("eval"))
    for call in once_per_place(analysis.method_calls("train")):
        mode = call.argument(0, "mode")
        if not call.context.under(*NO_GRAD) or (
            mode is not None and not (isinstance(mode, Const) and mode.value is True)
        ):
            continue
        name = receiver(call)
        if not any(
            receiver(one) == name and one.context.function is call.context.function and one.at < call.at
            for one in evals
        ):
            continue
        for one in analysis.all_calls:
            if (
                one.at > call.at
                and one.context.function is call.context.function
                and one.context.loops == call.context.loops
                and one.context.branches[: len(call.context.branches)] == call.context.branches
                and one.context.under(*NO_GRAD)
                and unparsed(one.node.func) == name
            ):
                if not any(call.at < back.at < one.at and receiver(back) == name for back in evals):
                    yield call, one
                break
