"""The global rank is used as the number of a GPU.

What it finds:
    `torch.device("cuda", rank)`, `set_device(rank)`, `.cuda(rank)` or `.to(rank)` where `rank` is `dist.get_rank()` or
    `int(os.environ["RANK"])`: written there, kept under another name or in an attribute, or given to a function that
    makes the device.

Why:
    On the second node the ranks go on from 8, and its GPUs are numbered 0 to 7.

How sure:
    Certain on several nodes. On one node both numbers are the same: how many there are is not in the source. Silent
    where the program says that there is one: it spawns its processes, or meets them at `localhost`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.environment import set_variables
from trainworthy.check.static.facts import Call
from trainworthy.check.static.tree import nodes_of, unparsed, walk
from trainworthy.check.static.values import Const

BAD = """\
import torch
import torch.distributed as dist

dist.init_process_group("nccl")
rank = dist.get_rank()
torch.cuda.set_device(rank)  # <- TW461
"""

GOOD = """\
import os

import torch
import torch.distributed as dist

dist.init_process_group("nccl")
rank, local_rank = dist.get_rank(), int(os.environ["LOCAL_RANK"])
torch.cuda.set_device(local_rank)
other = torch.device("cuda", rank % torch.cuda.device_count())
"""

_DEVICES = {"torch.device": 1, "torch.cuda.set_device": 0}
_MOVES = ("cuda", "to")
_Ranks = dict[str, ast.AST]


@rule(code="TW461", severity="hint")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at what names a device."""
    if not analysis.source.words.intersection(("get_rank", "RANK")) or _is_on_one_node(analysis):
        return
    ranks = _ranks(analysis)
    found = [*_devices(analysis, ranks)] or [*_moves(analysis, ranks)]
    seen: set[ast.AST] = set()
    for call, given in found:
        if call.node in seen or call.context.source is not analysis.source:
            continue
        seen.add(call.node)
        text = unparsed(given)
        made = ranks.get(_name_of(given))
        yield Hit(
            place=analysis.place(call.node, call.context),
            message=f"`{text}` counts over all nodes, and GPUs are numbered on each",
            evidence=() if made is None else (Evidence("it is the global rank", analysis.place(made)),),
            fix='int(os.environ["LOCAL_RANK"])',
        )


def _devices(analysis: Analysis, ranks: _Ranks) -> Iterator[tuple[Call, ast.expr]]:
    """Yield calls that name a device by a rank: of the function that gave it, if it was handed on."""
    for name, at in _DEVICES.items():
        for call in analysis.calls(name):
            yield from _given_a_rank(call, call.argument_node(at, "index" if at else "device"), ranks)


def _moves(analysis: Analysis, ranks: _Ranks) -> Iterator[tuple[Call, ast.expr]]:
    for name in _MOVES:
        for call in analysis.method_calls(name):
            yield from _given_a_rank(call, call.argument_node(0, "device"), ranks)


def _given_a_rank(call: Call, given: ast.expr | None, ranks: _Ranks) -> Iterator[tuple[Call, ast.expr]]:
    """Yield a call and what it is given, if that is a rank; a parameter is looked up in the call of its function."""
    for _ in range(4):
        if isinstance(given, ast.JoinedStr):
            given = next((one.value for one in given.values if isinstance(one, ast.FormattedValue)), None)
        if given is None:
            return
        at = _parameter(call, given)
        if at is None:
            if _is_rank(given) or _name_of(given) in ranks:
                yield call, given
            return
        if not call.context.callers or not isinstance(given, ast.Name):
            return
        call, given = call.context.callers[-1], call.context.callers[-1].argument_node(at, given.id)


def _parameter(call: Call, given: ast.expr) -> int | None:
    """Return the place of the parameter that a name is in the function around a call; None if it is none."""
    function = call.context.function
    if function is None or not isinstance(given, ast.Name):
        return None
    arguments = function.node.args
    names = [one.arg for one in (*arguments.posonlyargs, *arguments.args)]
    if given.id not in names or any(_binds(one, given.id) for one in nodes_of(function.node, ast.Assign)):
        return None
    return names.index(given.id) - (function.owner is not None)


def _binds(node: ast.Assign, name: str) -> bool:
    return any(isinstance(target, ast.Name) and target.id == name for target in node.targets)


def _ranks(analysis: Analysis) -> _Ranks:
    """Return the names and attributes that are the global rank, and those that are another name for one of them."""
    assigned = [
        (name, node)
        for node in analysis.nodes.get(ast.Assign, ())
        if isinstance(node, ast.Assign)
        for target in node.targets
        if (name := _name_of(target))
    ]
    found: _Ranks = {name: node for name, node in assigned if _is_rank(node.value)}
    for name, node in assigned:
        values = [other.value for at, other in assigned if at == name]
        if _name_of(node.value) in found and all(_is_rank(one) or _name_of(one) in found for one in values):
            found.setdefault(name, node)
    return found


def _is_on_one_node(analysis: Analysis) -> bool:
    """Say whether a program starts its own processes, or has them meet on the machine that each is on."""
    if "spawn" in analysis.source.words:
        return True
    return any(
        name == "MASTER_ADDR"
        and isinstance(value, Const)
        and value.value in ("localhost", "127.0.0.1")
        and not isinstance(node, ast.Call)
        for name, value, node, _ in set_variables(analysis)
    )


def _is_rank(node: ast.expr) -> bool:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get_rank":
        return not node.args and not node.keywords
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "int":
        keys = [one.value for one in nodes_of(node, ast.Constant)]
        return keys[:1] == ["RANK"] and any(getattr(one, "attr", "") in ("environ", "getenv") for one in walk(node))
    return False


def _name_of(node: ast.AST | None) -> str:
    """Return a name, or an attribute as it is written; "" for anything else."""
    return unparsed(node) if isinstance(node, ast.Name | ast.Attribute) else ""
