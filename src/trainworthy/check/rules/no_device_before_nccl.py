"""Every rank of a node uses GPU 0.

What it finds:
    `init_process_group("nccl")`, be it only where there are GPUs, and `.cuda()`, `.to("cuda")` or `.to(device)` without
    a number, in a program that never chooses a device; and objects sent through NCCL by a class that does not choose
    a device, where a class beside it does.

Why:
    `.cuda()` means GPU 0 in every process: all ranks of a node allocate there, and NCCL fails or hangs. So do
    collectives of objects, which go through the current device.

How sure:
    Neither `set_device`, `device_id`, `device_ids`, `CUDA_VISIBLE_DEVICES` nor a `cuda:` with a number occurs in the
    program, every device in it is written as plain "cuda" or "cpu", and nothing reads the rank on this node; a
    launcher that shows each process one GPU only would make it right.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called, followed, scope_of
from trainworthy.check.static.chosen_device import may_choose
from trainworthy.check.static.everywhere import project_files, text_of
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import body_of, once_per_place
from trainworthy.check.static.tree import unparsed

BAD = """\
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

dist.init_process_group("nccl")  # <- TW422
model = DistributedDataParallel(torch.nn.Linear(4, 4).cuda())
"""

GOOD = """\
import os

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
dist.init_process_group("nccl")
model = DistributedDataParallel(torch.nn.Linear(4, 4).cuda())
"""


_CHOOSING = ("set_device", "device_id", "device_ids", "CUDA_VISIBLE_DEVICES", "get_device", "ray")
_OBJECTS = frozenset({"broadcast_object_list", "all_gather_object", "gather_object", "scatter_object_list"})


@rule(code="TW422", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at process groups beside a plain `.cuda()`."""
    yield from _besides(analysis)
    starts = [call for call in once_per_place(analysis.calls("torch.distributed.init_process_group")) if _is_nccl(call)]
    if not starts or analysis.mentions(*_CHOOSING) or any(map(may_choose, analysis.sources)):
        return
    plain = [call for call in analysis.method_calls("cuda") if not call.node.args and not call.node.keywords]
    plain += [call for call in analysis.method_calls("to") if _is_plain_cuda(call)]
    if plain:
        yield Hit(
            place=analysis.place(starts[0].node, starts[0].context),
            message="no device is chosen, so every rank of a node uses GPU 0",
            evidence=(Evidence("GPU 0 is used here", analysis.place(plain[0].node, plain[0].context)),),
            fix='Call `torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))` first.',
        )


def _is_nccl(call: Call) -> bool:
    """Say whether a process group is NCCL's, be it only where there are GPUs."""
    node = call.argument_node(0, "backend")
    if call.constant(0, "backend") == "nccl":
        return True
    if isinstance(node, ast.Name):
        node = followed(node, body_of(call.context))
    return isinstance(node, ast.IfExp) and any(
        isinstance(one, ast.Constant) and one.value == "nccl" for one in (node.body, node.orelse)
    )


def _is_plain_cuda(call: Call) -> bool:
    """Say whether something is moved to the GPU without a number; where names stand, `may_choose` has read them all."""
    if call.constant(0, "device") == "cuda":
        return True
    node = call.argument_node(0, "device")
    return node is not None and "device" in last_name(node).lower() and "cuda" in call.context.source.text


def _besides(analysis: Analysis) -> Iterator[Hit]:
    """Yield collectives of objects in classes that choose no device, beside a class that does."""
    if (
        "set_device" not in analysis.source.words
        or not analysis.source.words & _OBJECTS
        or "nccl" not in analysis.source.words
    ):
        return
    sent = [one for one in analysis.nodes.get(ast.Call, ()) if called(one) in _OBJECTS]
    chosen = [one for one in analysis.nodes.get(ast.Call, ()) if called(one) == "set_device"]
    choosing = {_class_of(one, analysis) for one in chosen}
    if None in choosing or _elsewhere(analysis):
        return
    bases = {base for cls in choosing if cls is not None for base in map(unparsed, cls.bases)}
    for node in sent:
        cls = _class_of(node, analysis)
        siblings = cls is not None and cls not in choosing and any(unparsed(base) in bases for base in cls.bases)
        if (
            cls is None
            or not siblings
            or {one.name for one in choosing if one is not None} & set(map(unparsed, cls.bases))
        ):
            continue
        yield Hit(
            place=analysis.place(node),
            message="objects go through the current device, which every rank leaves at GPU 0",
            evidence=(Evidence("the class beside it chooses one", analysis.place(chosen[0])),),
            fix="Call `torch.cuda.set_device` first.",
        )


def _class_of(node: ast.AST, analysis: Analysis) -> ast.ClassDef | None:
    around = analysis.parents.get(scope_of(node, analysis.parents))
    return around if isinstance(around, ast.ClassDef) else None


def _elsewhere(analysis: Analysis) -> bool:
    """Say whether another file of the project chooses a device."""
    others = (one for one in project_files(analysis.source.path) or () if one != analysis.source.path)
    return any("set_device" in text_of(one) for one in others)
