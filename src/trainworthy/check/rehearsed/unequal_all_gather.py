"""Ranks gather pieces of different sizes.

What it finds:
    With `--world-size N`: an `all_gather` to which ranks bring different numbers of elements.

Why:
    gloo raises; other backends may hang or fill the result with what is not there.

How sure:
    Sure of the sizes.
"""

from __future__ import annotations

from trainworthy.check.rule import described

BAD = """\
import torch
import torch.distributed as dist

dist.init_process_group("gloo")
mine = torch.ones(3 + dist.get_rank())
everything = [torch.empty(3) for _ in range(dist.get_world_size())]
dist.all_gather(everything, mine)
"""
GOOD = """\
import torch
import torch.distributed as dist

dist.init_process_group("gloo")
mine = torch.zeros(8)
mine[: 3 + dist.get_rank()] = 1
everything = [torch.empty(8) for _ in range(dist.get_world_size())]
dist.all_gather(everything, mine)
"""

described(code="TW403", severity="error", module=__name__)
