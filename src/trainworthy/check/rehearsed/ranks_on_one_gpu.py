"""Two ranks of a node train on one GPU.

What it finds:
    With `--world-size N`: ranks of one node whose operations all run on the same device.

Why:
    The other GPUs are idle; NCCL refuses two ranks on one GPU.

How sure:
    Sure of the device. A warning without NCCL.
"""

from __future__ import annotations

from trainworthy.check.rule import described

BAD = """\
import torch
import torch.distributed as dist

dist.init_process_group("gloo")
model = torch.nn.Linear(4, 4).to("cuda:0")
"""
GOOD = """\
import os

import torch
import torch.distributed as dist

dist.init_process_group("gloo")
torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
model = torch.nn.Linear(4, 4).to("cuda")
"""

described(code="TW410", severity="error", module=__name__)
