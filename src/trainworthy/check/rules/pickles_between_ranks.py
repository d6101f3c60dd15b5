"""Objects are sent between ranks as pickles.

What it finds:
    `all_gather_object`, `broadcast_object_list` and their kin, and `pickle.dumps` in a function that makes a tensor of
    it, which is sent to other ranks.

Why:
    A pickle can run any program on the rank that reads it.

How sure:
    Not on by default: fine in a cluster that is yours. Select it with `--extend-select TW803`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit, Place
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called
from trainworthy.check.static.bindings import functions_of
from trainworthy.check.static.queries import once_per_place
from trainworthy.check.static.tree import nodes_of, unparsed

BAD = """\
import torch.distributed as dist

out = [None, None]
dist.all_gather_object(out, {"a": 1})  # <- TW803
"""

GOOD = """\
import torch
import torch.distributed as dist

out = [torch.zeros(1), torch.zeros(1)]
dist.all_gather(out, torch.ones(1))
"""


_NAMES = tuple(
    f"torch.distributed.{name}"
    for name in (
        "all_gather_object", "gather_object", "broadcast_object_list", "scatter_object_list", "send_object_list",
        "recv_object_list",
    )
)  # fmt: skip


_SENDS = frozenset(
    "all_reduce all_gather all_gather_into_tensor all_gather_base gather broadcast scatter send isend all_to_all "
    "all_to_all_single".split()
)
_PICKLERS = frozenset({"pickle", "cPickle", "dill", "cloudpickle", "_pickle"})
_AS_TENSORS = frozenset({"frombuffer", "from_buffer", "ByteTensor", "from_numpy", "tensor", "as_tensor"})


@rule(code="TW803", severity="hint", default=False)
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at calls."""
    for call in once_per_place(analysis.calls(*_NAMES)):
        yield _hit(analysis.place(call.node, call.context))
    if analysis.source.words & _SENDS and {"distributed", "dumps"} <= analysis.source.words:
        yield from _by_hand(analysis)


def _hit(place: Place) -> Hit:
    return Hit(
        place=place,
        message="objects are sent as pickles, which can run any program",
        fix="Send tensors, if ranks are not all trusted.",
    )


def _by_hand(analysis: Analysis) -> Iterator[Hit]:
    """Yield pickles that a function makes a tensor of bytes from, and it, or a function that it calls, sends."""
    sending = {one.name for one in functions_of(analysis.nodes) if _sends(one)}
    for function in functions_of(analysis.nodes):
        calls = nodes_of(function, ast.Call)
        dumped = [one for one in calls if called(one) == "dumps" and _is_a_pickler(one.func)]
        names = {called(one) for one in calls}
        if dumped and names & _AS_TENSORS and (_sends(function) or names & sending):
            yield _hit(analysis.place(dumped[0]))


def _is_a_pickler(func: ast.expr) -> bool:
    return isinstance(func, ast.Attribute) and getattr(func.value, "id", "") in _PICKLERS


def _sends(function: ast.AST) -> bool:
    return any(called(one) in _SENDS and not _is_of_a_tensor(one) for one in nodes_of(function, ast.Call))


def _is_of_a_tensor(node: ast.Call) -> bool:
    """Say whether a call is `x.gather(1, i)`, or the `send` of a socket or a pipe."""
    func = node.func
    return isinstance(func, ast.Attribute) and "dist" not in unparsed(func.value)
