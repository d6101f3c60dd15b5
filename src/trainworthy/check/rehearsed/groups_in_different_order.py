"""Ranks make process groups in different order.

What it finds:
    With `--world-size N`: `dist.new_group` with other members on some ranks, in another order, or not on all ranks.

Why:
    `new_group` is a collective of the whole world, members or not: ranks wait for each other, or end up in groups
    that do not fit.

How sure:
    Sure of the order.
"""

from __future__ import annotations

from trainworthy.check.rule import described

BAD = """\
import torch.distributed as dist

dist.init_process_group("gloo")
pair = dist.get_rank() // 2
group = dist.new_group([2 * pair, 2 * pair + 1])
"""
GOOD = """\
import torch.distributed as dist

dist.init_process_group("gloo")
groups = [dist.new_group([2 * n, 2 * n + 1]) for n in range(dist.get_world_size() // 2)]
group = groups[dist.get_rank() // 2]
"""

described(code="TW404", severity="error", module=__name__)
