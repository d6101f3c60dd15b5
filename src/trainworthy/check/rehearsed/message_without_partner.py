"""A message has no partner.

What it finds:
    With `--world-size N`: a `send` that its peer never receives, or a `recv` that nobody sends.

Why:
    The rank waits for ever, or the next message is taken for this one.

How sure:
    Sure for the ranks that were rehearsed to their end.
"""

from __future__ import annotations

from trainworthy.check.rule import described

BAD = """\
import torch
import torch.distributed as dist

dist.init_process_group("gloo")
if dist.get_rank() == 0:
    dist.send(torch.ones(4), dst=1)
"""
GOOD = """\
import torch
import torch.distributed as dist

dist.init_process_group("gloo")
if dist.get_rank() == 0:
    dist.send(torch.ones(4), dst=1)
elif dist.get_rank() == 1:
    dist.recv(torch.empty(4), src=0)
"""

described(code="TW405", severity="error", module=__name__)
