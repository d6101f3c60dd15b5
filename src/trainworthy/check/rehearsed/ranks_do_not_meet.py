"""Ranks do not meet in a collective.

What it finds:
    With `--world-size N`: ranks that call different collectives, or the same with another type, size, root or
    reduction, or that wait for each other, on one process group.

Why:
    The run hangs until the timeout of the backend, half an hour later, or it mixes numbers that do not belong
    together.

How sure:
    Sure of the order of the calls of the ranks that were rehearsed. A rank that was not rehearsed is never blamed.
"""

from __future__ import annotations

from trainworthy.check.rule import described

BAD = """\
import torch
import torch.distributed as dist

dist.init_process_group("gloo")
if dist.get_rank() == 0:
    dist.barrier()
"""
GOOD = """\
import torch
import torch.distributed as dist

dist.init_process_group("gloo")
dist.barrier()
"""

described(code="TW401", severity="error", module=__name__)
