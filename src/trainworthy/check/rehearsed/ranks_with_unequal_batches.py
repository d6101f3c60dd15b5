"""Ranks get batches of different sizes.

What it finds:
    With `--world-size N`: in one step, data-parallel ranks get different numbers of samples; as a note, a data set
    that the ranks do not divide.

Why:
    Gradients are averaged over ranks, so a sample of a small batch weighs more: with 9 and 3 samples the gradient is
    a third off.

How sure:
    Sure of the sizes.
"""

from __future__ import annotations

from trainworthy.check.rule import described

BAD = """\
import torch.distributed as dist
from torch.utils.data import DataLoader

dist.init_process_group("gloo")
loader = DataLoader(range(64), batch_size=9 if dist.get_rank() == 0 else 3)
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

described(code="TW408", severity="warning", module=__name__)
