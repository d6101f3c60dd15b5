"""Ranks get the same batch.

What it finds:
    With `--world-size N`: data-parallel ranks whose first batches are equal, while no sampler divides the data.

Why:
    All ranks compute the same gradient: N GPUs do the work of one.

How sure:
    Sure of the contents of the batches. Silent where each rank takes its part of a batch by hand.
"""

from __future__ import annotations

from trainworthy.check.rule import described

BAD = """\
import torch.distributed as dist
from torch.utils.data import DataLoader

dist.init_process_group("gloo")
loader = DataLoader(range(64), batch_size=8, shuffle=False)
"""
GOOD = """\
import torch.distributed as dist
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

dist.init_process_group("gloo")
sampler = DistributedSampler(range(64))
loader = DataLoader(range(64), batch_size=8, sampler=sampler)
for epoch in range(2):
    sampler.set_epoch(epoch)
    for batch in loader:
        pass
"""

described(code="TW409", severity="warning", module=__name__)
