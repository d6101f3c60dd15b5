"""A loader gets a sampler and `shuffle=True`.

What it finds:
    `DataLoader(..., shuffle=True, sampler=...)`.

Why:
    The two exclude each other: ValueError.

How sure:
    Both are given literally and the sampler is not None.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.queries import once_per_place
from trainworthy.check.static.values import Instance

BAD = """\
import torch
from torch.utils.data import DataLoader, DistributedSampler

data = torch.rand(10)
loader = DataLoader(data, shuffle=True, sampler=DistributedSampler(data, shuffle=False))  # <- TW420
"""

GOOD = """\
import torch
from torch.utils.data import DataLoader, DistributedSampler

data = torch.rand(10)
loader = DataLoader(data, sampler=DistributedSampler(data, shuffle=False))
"""


@rule(code="TW420", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at loaders."""
    for call in once_per_place(analysis.calls("torch.utils.data.DataLoader")):
        sampler = call.argument(3, "sampler")
        if call.constant(2, "shuffle") is True and isinstance(sampler, Instance) and sampler.made_by is not None:
            if any(one not in call.context.branches for one in sampler.made_by.context.branches):
                continue
            yield Hit(
                place=analysis.place(call.node, call.context),
                message="`sampler` and `shuffle=True` exclude each other",
                fix="Leave `shuffle` out and let the sampler shuffle.",
            )
