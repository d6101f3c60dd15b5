"""Functional dropout that does not follow the mode of its module."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import called_function, is_a_module, once_per_place
from trainworthy.check.static.tree import nodes_of, unparsed, walk
from trainworthy.check.static.values import Const, Function, Instance, ProjectClass, Value

_DROPOUTS = tuple(
    f"torch.nn.functional.{name}"
    for name in ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout")
)
_NATIVE = ("torch.dropout", "torch.alpha_dropout", "torch.feature_dropout", "torch.feature_alpha_dropout")
_ATTENTION = ("torch.nn.functional.scaled_dot_product_attention", "torch.scaled_dot_product_attention")


def always_on(analysis: Analysis) -> Iterator[tuple[Call, str]]:
    """Yield calls in methods of modules whose dropout does not depend on the mode, with the reason."""
    for call in once_per_place(analysis.calls(*_DROPOUTS)):
        given = call.has(2, "training") or call.constant(1, "p") == 0 or call.starred
        if not given and _follows_nothing(call) and not _asked_for(call):
            yield call, "`training` is not given, and its default is True"
    for call in once_per_place(analysis.calls(*_NATIVE)):
        if call.constant(2, "train") is True and call.constant(1, "p") != 0 and _follows_nothing(call):
            yield call, "`train` is True whatever the mode"
    yield from _own_functions(analysis)
    own = _own_dropouts(analysis)
    for call in once_per_place(iter(analysis.all_calls)):
        rate = next((one.value for one in call.node.keywords if one.arg == "dropout_p"), None)
        if call.name in _ATTENTION and isinstance(rate := call.argument_node(4, "dropout_p"), ast.Constant):
            if rate.value and _follows_nothing(call):
                yield call, f"`dropout_p` is {rate.value!r} whatever the mode"
        elif isinstance(call.node.func, ast.Attribute) and _is_an_own_dropout(call, own) and _follows_nothing(call):
            yield _where_it_draws(analysis, call) or call, f"`{own[_place_of(call)]}` drops whatever the mode"
        elif (
            isinstance(rate, ast.Attribute)
            and _follows_nothing(call)
            and _is_a_fixed_rate(rate, call)
            and _takes_it_as_it_is(call)
        ):
            yield call, f"`dropout_p` is `{unparsed(rate)}` whatever the mode"


def _own_dropouts(analysis: Analysis) -> dict[tuple[object, str], str]:
    """Return the attributes that hold a dropout of the project's own which does not know the mode, with its name."""
    found: dict[tuple[object, str], str] = {}
    for store in analysis.stores:
        cls = store.value.cls if isinstance(store.value, Instance) else None
        if cls is None or not isinstance(store.owner, Instance) or not isinstance(store.target, ast.Attribute):
            continue
        forward = cls.lookup("forward")
        draws = isinstance(forward, Function) and _draws(forward.node)
        if "dropout" in cls.node.name.lower() and draws and not _asks_for_the_mode(cls.node):
            found[(store.owner.cls, store.target.attr)] = cls.node.name
    return found


def _own_functions(analysis: Analysis) -> Iterator[tuple[Call, str]]:
    """Yield calls that give the rate that a module keeps to a function, or autograd function, of the project's own.

    Named for dropping, or given the rate for a parameter that is, it draws and knows nothing of the mode.
    """
    for call in once_per_place(iter(analysis.all_calls)):
        given = [*call.node.args, *(one.value for one in call.node.keywords)]
        rate = next((one for each in given if (one := _rate_in(each)) is not None), None)
        if rate is None or not _follows_nothing(call) or not _is_a_fixed_rate(rate, call, or_zero=True):
            continue
        body = _body_of_callee(analysis, call)
        if body is not None and _draws_after_the_rate(body) and not _asks_for_the_mode(body):
            yield call, f"`{unparsed(call.node.func)}` drops by `{unparsed(rate)}` whatever the mode"


def _rate_in(node: ast.expr) -> ast.Attribute | None:
    """Return an attribute of a module that is named for the rate of a dropout: as it is, or as a number."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "float" and node.args:
        node = node.args[0]
    of_self = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
    return node if of_self and isinstance(node, ast.Attribute) and _RATE.search(node.attr) else None


_RATE = re.compile(r"drop(out)?(_?(p|prob|rate|ratio))?$|^drop_?(path|out)")


def _body_of_callee(analysis: Analysis, call: Call) -> ast.AST | None:
    """Return the function that a call runs, or the `forward` of an autograd function whose `apply` it is."""
    function = called_function(call)
    if function is not None:
        return function.node if function.owner is None else None
    func = call.node.func
    name = getattr(func.value, "id", "") if isinstance(func, ast.Attribute) and func.attr == "apply" else ""
    cls = next((one for one in analysis.classes if name and one.node.name == name), None)
    forward = cls.members.get("forward") if cls is not None else None
    return forward.node if isinstance(forward, Function) else None


def _draws_after_the_rate(body: ast.AST) -> bool:
    """Say whether a function draws numbers, and one of its parameters is the rate of a dropout."""
    names = [one.arg for one in nodes_of(body, ast.arg)]
    return _draws(body) and any(_RATE.search(name) or name in ("p", "prob", "rate") for name in names)


def _where_it_draws(analysis: Analysis, call: Call) -> Call | None:
    """Return the call that draws in what a call leads to, if that stands in this file."""
    for one in analysis.all_calls:
        if call in one.context.callers and one.context.source is analysis.source and _draws(one.node.func):
            return one
    return None


def _draws(node: ast.AST) -> bool:
    names = {str(getattr(one, "attr", None) or getattr(one, "id", "")) for one in walk(node)}
    return bool(names & {"rand", "rand_like", "bernoulli", "bernoulli_", "uniform_", "Bernoulli"})


def _place_of(call: Call) -> tuple[object, str]:
    function = call.context.function
    return (function.owner if function is not None else None, getattr(call.node.func, "attr", ""))


def _is_an_own_dropout(call: Call, own: dict[tuple[object, str], str]) -> bool:
    return _place_of(call) in own


def _follows_nothing(call: Call) -> bool:
    """Say whether a call stands in a method of a module and nothing around it or in it asks for the mode."""
    function = call.context.function
    if function is None or function.owner is None or function.name in ("__init__", "extra_repr"):
        return False
    if not is_a_module(function.owner.prototype) or "prenet" in function.owner.node.name.lower():
        return False
    tests = [one.test for one in walk(function.node) if isinstance(one, ast.If | ast.IfExp | ast.Assert)]
    parts = [call.node, *[test for test, _ in call.context.branches], *tests]
    return not any(_asks_for_the_mode(part) for part in parts)


def _asked_for(call: Call) -> bool:
    """Say whether the rate is a parameter whose default is 0, as of samplers: whoever gives one wants it."""
    rate, function = call.argument_node(1, "p"), call.context.function
    if not isinstance(rate, ast.Name) or function is None:
        return False
    arguments = function.node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = list(zip(reversed(positional), reversed(arguments.defaults), strict=False))
    defaults += [(arg, one) for arg, one in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if one]
    return any(
        arg.arg == rate.id and isinstance(one, ast.Constant) and one.value == 0 and not isinstance(one.value, bool)
        for arg, one in defaults
    )


def _asks_for_the_mode(node: ast.AST) -> bool:
    return any("train" in str(getattr(one, "attr", None) or getattr(one, "id", "")) for one in walk(node))


def _is_a_fixed_rate(rate: ast.Attribute, call: Call, *, or_zero: bool = False) -> bool:
    """Say whether an attribute is set in `__init__` alone, and to nothing that is zero or asks for the mode."""
    owner = call.context.function.owner if call.context.function is not None else None
    name = rate.attr if isinstance(rate.value, ast.Name) else getattr(rate.value, "attr", "")
    if owner is None or not name:
        return False
    sets = 0
    for member in owner.node.body:
        if not isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if member.name == name:
            return False  # a property
        for node in walk(member):
            if isinstance(node, ast.Attribute) and node.attr == name and isinstance(node.ctx, ast.Store):
                sets += 1
                if member.name != "__init__":
                    return False
    known = owner.prototype.attrs.get(name) if owner.prototype is not None else None
    return sets > 0 and (or_zero or not _is_nothing(known))


def _is_nothing(known: Value | None) -> bool:
    return isinstance(known, Const) and known.value in (0, 0.0, None)


def _takes_it_as_it_is(call: Call) -> bool:
    """Say whether the callee is torch's attention, or another function that surely does not look at the mode."""
    if call.name in _ATTENTION:
        return True
    func = call.node.func
    held = (
        call.owner.attrs.get(func.attr)
        if isinstance(call.owner, Instance) and isinstance(func, ast.Attribute)
        else call.owner
    )
    if isinstance(held, Function):
        return not _asks_for_the_mode(held.node)
    if isinstance(held, ProjectClass | Instance):
        return False
    # A function that nothing is known of, called as torch's attention is.
    return "flash_attn" in call.name or any(one.arg == "is_causal" for one in call.node.keywords)
