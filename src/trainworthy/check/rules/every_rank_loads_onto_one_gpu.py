"""Every rank loads a checkpoint onto the GPU that it was saved from.

What it finds:
    `torch.load(path)` without `map_location` in a program of several ranks, where what is loaded goes into a model or
    an optimizer.

Why:
    Tensors go back to the device that they were saved from, usually the first GPU: each rank makes a context and a
    copy there, and resuming runs out of memory where training did not.

How sure:
    The file starts or joins a process group, or wraps in DDP, and the loaded object reaches `load_state_dict`. Silent
    under a condition about the rank, where the file's name has the rank in it, and in files that name the CPU as their
    device and no other.

When it is wrong:
    The checkpoint was saved from tensors on the CPU.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import body_of, names_in, once_per_place
from trainworthy.check.static.tree import nodes_of, unparsed, walk

BAD = """\
import os
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

dist.init_process_group("nccl")
rank = int(os.environ["LOCAL_RANK"])
torch.cuda.set_device(rank)
model = torch.nn.Linear(4, 1).to(rank)
snapshot = torch.load("snapshot.pt")  # <- TW443
model.load_state_dict(snapshot["model"])
model = DistributedDataParallel(model, device_ids=[rank])
"""

GOOD = """\
import os
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

dist.init_process_group("nccl")
rank = int(os.environ["LOCAL_RANK"])
torch.cuda.set_device(rank)
model = torch.nn.Linear(4, 1).to(rank)
snapshot = torch.load("snapshot.pt", map_location=f"cuda:{rank}")
model.load_state_dict(snapshot["model"])
model = DistributedDataParallel(model, device_ids=[rank])
"""

_RANKS = ("init_process_group", "DistributedDataParallel", "distributed_backends", "deepspeed", "DDP", "process_index")


@rule(code="TW443", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at loads whose result reaches a `load_state_dict`."""
    if not any(word in analysis.source.words for word in _RANKS) or not _has_ranks(analysis) or _is_on_cpu(analysis):
        return
    loads = list(once_per_place(analysis.calls("torch.load")))
    mapped = {one.context.function for one in loads if one.has(1, "map_location")}
    for call in loads:
        if call.context.function in mapped:  # the other branch of a choice
            continue
        if call.context.source is not analysis.source or call.has(1, "map_location") or _only_one_rank(call):
            continue
        if call.context.function is not None and call.context.function.name.startswith("test_"):
            continue  # one process
        use = _reaches_a_model(call)
        if use is not None:
            yield Hit(
                place=analysis.place(call.node, call.context),
                message="without `map_location`, every rank loads onto the GPU that the file was saved from",
                evidence=(Evidence("it is loaded into a model here", analysis.place(use, call.context)),),
                fix='Write `torch.load(path, map_location="cpu")`, or the rank\'s own device.',
            )


def _has_ranks(analysis: Analysis) -> bool:
    """Say whether the program itself speaks of ranks, not only what is written about it."""
    nodes = [one for kind in (ast.Name, ast.Attribute, ast.alias, ast.keyword) for one in analysis.nodes.get(kind, [])]
    named = {getattr(one, key, None) or "" for one in nodes for key in ("id", "attr", "name", "asname", "arg")}
    return any(word in part.split(".") for word in _RANKS for part in named)


def _is_on_cpu(analysis: Analysis) -> bool:
    """Say whether the file names the CPU as its device, and no GPU."""
    code = analysis.source.code
    return re.search(r"""device\(["']cpu["']\)""", code) is not None and "cuda" not in code


def _only_one_rank(call: Call) -> bool:
    """Say whether a condition asks for the rank, or the file's name has it in it: each rank then loads its own."""
    if any("rank" in name.lower() for test, _ in call.context.branches for name in names_in(test)):
        return True
    parts: list[ast.AST] = list(call.node.args[:1])
    for _ in range(2):
        names = {name for part in parts for name in _bare_names(part)}
        parts += [
            node.value
            for node in nodes_of(body_of(call.context), ast.Assign)
            if any(names & _bare_names(target) for target in node.targets)
        ]
    return any("rank" in unparsed(part).lower() for part in parts)


def _reaches_a_model(call: Call) -> ast.AST | None:
    """Follow names from the load to the argument of a `load_state_dict` in the same function."""
    body = body_of(call.context)
    known: set[str] = set()
    for _ in range(3):
        for node in walk(body):
            if isinstance(node, ast.Assign) and (_holds(node.value, call) or known & _bare_names(node.value)):
                # A part that is put into something else does not make all of that a checkpoint.
                whole = [target for target in node.targets if not isinstance(target, ast.Subscript)]
                known |= {name for target in whole for name in _bare_names(target)}
    for node in walk(body):
        if (
            isinstance(node, ast.Call)
            and getattr(node.func, "attr", "") == "load_state_dict"
            and (node.end_lineno or 0) >= call.node.lineno
        ):
            if any(word in unparsed(node.func).lower() for word in ("scaler", "sched")):  # numbers
                continue
            parts = [*node.args, *[one.value for one in node.keywords]]
            if any(_holds(part, call) or known & _bare_names(part) for part in parts):
                return node
    return None


def _holds(node: ast.AST, call: Call) -> bool:
    return any(one is call.node for one in walk(node))


def _bare_names(node: ast.AST) -> set[str]:
    return {one.id for one in nodes_of(node, ast.Name)}
