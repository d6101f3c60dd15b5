"""Every rank of a node uses GPU 0.

What it finds:
    `init_process_group("nccl")` and `.cuda()` without a number, in a program that never chooses a device.

Why:
    `.cuda()` means GPU 0 in every process: all ranks of a node allocate there, and NCCL fails or hangs.

How sure:
    Neither `set_device`, `device_id`, `device_ids`, `CUDA_VISIBLE_DEVICES` nor a `cuda:` with a number occurs in the
    program;
    a launcher that shows each process one GPU only would make it right.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.queries import once_per_place

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


_CHOOSING = (
    "set_device",
    "device_id",
    "device_ids",
    "CUDA_VISIBLE_DEVICES",
    "device",
    "gpu",
    "local_rank",
    "LOCAL_RANK",
)


@rule(code="TW422", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at process groups beside a plain `.cuda()`."""
    starts = [
        call
        for call in once_per_place(analysis.calls("torch.distributed.init_process_group"))
        if call.constant(0, "backend") == "nccl"
    ]
    if not starts or analysis.mentions(*_CHOOSING):
        return
    plain = [call for call in analysis.method_calls("cuda") if not call.node.args and not call.node.keywords]
    plain += [call for call in analysis.method_calls("to") if call.constant(0, "device") == "cuda"]
    if plain:
        yield Hit(
            place=analysis.place(starts[0].node, starts[0].context),
            message="no device is chosen, so every rank of a node uses GPU 0",
            evidence=(Evidence("GPU 0 is used here", analysis.place(plain[0].node, plain[0].context)),),
            fix='Call `torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))` first.',
        )
