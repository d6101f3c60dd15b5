"""Parameters beside DDP are averaged by nobody.

What it finds:
    With `--world-size N`: an optimizer trains parameters that no DDP wrapper holds, and no collective carries their
    gradients.

Why:
    Every rank updates its own copy by its own gradient, and the copies drift apart; only rank 0's is saved.

How sure:
    Sure of the collectives. Silent where any other collective of the backward pass may be the script's own averaging.
"""

from __future__ import annotations

from trainworthy.check.rule import described

BAD = """\
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

dist.init_process_group("gloo")
body, head = DistributedDataParallel(nn.Linear(4, 4)), nn.Linear(4, 2)
optimizer = torch.optim.SGD([*body.parameters(), *head.parameters()], lr=0.1)
"""
GOOD = """\
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

dist.init_process_group("gloo")
model = DistributedDataParallel(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
"""

described(code="TW413", severity="warning", module=__name__)
