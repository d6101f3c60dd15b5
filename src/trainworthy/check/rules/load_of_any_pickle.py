"""`torch.load` is allowed to run code from the file.

What it finds:
    `torch.load(..., weights_only=False)`, written out or given by a variable, a dict (`**options`) or
    `functools.partial`; and `TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD`, set by the program for all that it loads.

Why:
    A pickle can run any program when it is loaded. Since torch 2.6 the default reads tensors and plain containers only.

How sure:
    Certain that it is given so; harmless for files of your own.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Def
from trainworthy.check.static.environment import set_variables
from trainworthy.check.static.facts import Call, Context
from trainworthy.check.static.queries import body_of
from trainworthy.check.static.tree import unparsed
from trainworthy.check.static.values import Const, Ref

BAD = """\
import torch

state = torch.load("model.pt", weights_only=False)  # <- TW802
"""

GOOD = """\
import torch

state = torch.load("model.pt")
same = torch.load("model.pt", weights_only=True)
"""


_LOADS = ("torch.load", "torch.serialization.load", "torch.hub.load_state_dict_from_url")
_FOR_ALL = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
_YES = ("1", "y", "yes", "true")


@rule(code="TW802", severity="hint")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at calls, and at what is set for all of them."""
    if not analysis.mentions("weights_only", _FOR_ALL):
        return
    done: set[ast.AST] = set()
    for call in (*analysis.calls(*_LOADS), *_prepared(analysis)):
        if call.node not in done and _is_false(analysis, call):
            done.add(call.node)
            yield Hit(
                place=analysis.place(call.node, call.context),
                message="a file that is loaded with `weights_only=False` can run any program",
                fix="Leave it out, and allow what is needed: `torch.serialization.add_safe_globals`.",
            )
    for node, context in dict(_set_for_all(analysis)).items():
        yield Hit(
            place=analysis.place(node, context),
            message=f"with `{_FOR_ALL}` any file that is loaded can run any program",
            fix="Leave it out, and allow what is needed: `torch.serialization.add_safe_globals`.",
        )


def _prepared(analysis: Analysis) -> Iterator[Call]:
    """Yield `functools.partial(torch.load, ...)`."""
    for call in analysis.calls("functools.partial"):
        if call.args and isinstance(call.args[0], Ref) and call.args[0].name in _LOADS:
            yield call


def _is_false(analysis: Analysis, call: Call) -> bool:
    """Say whether `weights_only` is False, as far as the ways that lead here tell."""
    given = call.argument(None, "weights_only") or call.hidden.get("weights_only")
    if given is not None:
        return given == Const(value=False) and not _is_for_callers_to_say(call)
    hidden = {unparsed(one.value) for one in call.node.keywords if one.arg is None}
    return bool(hidden) and any(
        unparsed(store.target.value) in hidden and store.context.function is call.context.function
        for store in analysis.stores
        if isinstance(store.target, ast.Subscript)
        and unparsed(store.target.slice) == "'weights_only'"
        and store.value == Const(value=False)
    )


def _is_for_callers_to_say(call: Call) -> bool:
    """Say whether a parameter is handed on that is not False by default: here nothing says that it is to be so."""
    node, function = call.argument_node(None, "weights_only"), body_of(call.context)
    if not isinstance(node, ast.Name) or not isinstance(function, Def):
        return False
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    late = positional[len(positional) - len(arguments.defaults) :]
    given = {one.arg: default for one, default in zip(late, arguments.defaults, strict=True)}
    given |= {
        one.arg: default for one, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if default
    }
    names = {one.arg for one in (*positional, *arguments.kwonlyargs)}
    default = given.get(node.id)
    return node.id in names and not (isinstance(default, ast.Constant) and default.value is False)


def _set_for_all(analysis: Analysis) -> Iterator[tuple[ast.AST, Context]]:
    """Yield where the environment says that everything is to be loaded."""
    if not analysis.mentions(_FOR_ALL):
        return
    for name, value, node, context in set_variables(analysis):
        if name == _FOR_ALL and isinstance(value, Const) and str(value.value).lower() in _YES:
            yield node, context
