"""The mode that the way to a call leaves a model in: where `train()` was called last, and nothing called `eval()`."""

from __future__ import annotations

import ast

from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.external import is_module
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import always_with, parting, receiver
from trainworthy.check.static.tree import own, unparsed
from trainworthy.check.static.values import WRAPPERS, Function, Instance, Value


class PutIntoTraining:
    """Answers for the `train()` calls of one file and what it calls."""

    def __init__(self, analysis: Analysis, turn_on: list[Call]) -> None:
        """Take the calls that turn evaluation mode on, or may."""
        self._trains = [one for one in analysis.method_calls("train") if _turns_training_on(one)]
        self._evals = turn_on

    def before(self, call: Call) -> Call | None:
        """Return the `train()` that the model of a call was last given on each way there; None if that is not clear."""
        last = None
        for one in self._trains:
            if one.at < call.at and _leads_from(one, call) and _is_same_model(one, call):
                last = one if last is None or one.at > last.at else last
        if last is None or any(self._comes_between(last, one, call) for one in self._evals):
            return None
        return last

    @staticmethod
    def _comes_between(train: Call, one: Call, call: Call) -> bool:
        """Say whether a call may be the last before another: between the two, or later in a loop around that one."""
        if train.at < one.at < call.at:
            return True
        inner = set(call.context.all_loops()) - set(train.context.all_loops())
        return bool(inner & set(one.context.all_loops()))


def _turns_training_on(call: Call) -> bool:
    mode = call.constant(0, "mode")
    given = call.has(0, "mode")
    own_method = call.function is not None and not is_module(call.owner)
    return isinstance(call.node.func, ast.Attribute) and (not given or mode is True) and not own_method


def _leads_from(first: Call, call: Call) -> bool:
    """Say whether one call is made before another on each way to that."""
    ways = _parting(first, call)
    if ways is None:
        return False
    (here, *inside), (there, *_) = ways
    return always_with(here.context, there.context) and not any(one.context.branches for one in inside)


def _parting(a: Call, b: Call) -> tuple[tuple[Call, ...], tuple[Call, ...]] | None:
    """Return the ways to two calls from where they part, if that is in one function."""
    ways = parting(a, b)
    if ways is None:
        return None
    one, other = ways[0][0].context, ways[1][0].context
    return ways if one.function is other.function and one.source is other.source else None


def _is_same_model(train: Call, call: Call) -> bool:
    """Say whether two calls are of one object, or of one name where they part."""
    model, called = _unwrapped(train.owner), _unwrapped(call.owner)
    if is_module(model) and is_module(called):
        return model is called
    ways = _parting(train, call)
    if ways is None:
        return False
    frame = ways[0][0].context.function
    names = {_name_at(train, receiver(train), frame), _name_at(call, _of_model(call), frame)}
    return len(names) == 1 and "" not in names


def _of_model(call: Call) -> str:
    """Write what is called: the object, also of one of its methods that is known."""
    return unparsed(call.node.func)


def _unwrapped(value: Value) -> Value:
    while isinstance(value, Instance) and value.type in WRAPPERS and isinstance(value.attrs.get("module"), Instance):
        value = value.attrs["module"]
    return value


def _name_at(call: Call, name: str, wanted: Function | None) -> str:
    """Return what a function on the way to a call calls an object, be it a variable of the file; "" if not clear."""
    function = call.context.function
    for caller in reversed(call.context.callers):
        if function is wanted or function is None:
            break
        root = name.partition(".")[0]
        arguments = [one.arg for one in (*function.node.args.posonlyargs, *function.node.args.args)]
        if root == "self":
            outer = caller.node.func
            if not isinstance(outer, ast.Attribute):
                return ""
            name = unparsed(outer.value) + name[len("self") :]
        elif root in arguments or root in {one.arg for one in function.node.args.kwonlyargs}:
            name = _given(caller.node, arguments, name)
        elif root in _bound_in(function):
            return ""
        function = caller.context.function
    return name if function is wanted else ""


def _bound_in(function: Function) -> set[str]:
    nodes = own(function.node) if not isinstance(function.node, ast.Lambda) else ()
    return {one.id for one in nodes if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}


def _given(caller: ast.Call, arguments: list[str], name: str) -> str:
    """Write what a call gives for a parameter; "" if it is not given, or is more than a name."""
    given = next((one.value for one in caller.keywords if one.arg == name), None)
    if given is None:
        left = arguments[1:] if arguments[:1] == ["self"] else arguments
        at = left.index(name) if name in left else len(caller.args)
        given = caller.args[at] if at < len(caller.args) else None
    return unparsed(given) if isinstance(given, ast.Name | ast.Attribute) and last_name(given) else ""
