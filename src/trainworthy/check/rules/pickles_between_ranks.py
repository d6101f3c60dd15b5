"""Objects are sent between ranks as pickles.

What it finds:
    `all_gather_object`, `broadcast_object_list` and their kin.

Why:
    A pickle can run any program on the rank that reads it.

How sure:
    Not on by default: fine in a cluster that is yours. Select it with `--extend-select TW803`.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.queries import once_per_place

BAD = """\
import torch.distributed as dist

out = [None, None]
dist.all_gather_object(out, {"a": 1})  # <- TW803
"""

GOOD = """\
import torch
import torch.distributed as dist

out = [torch.zeros(1), torch.zeros(1)]
dist.all_gather(out, torch.ones(1))
"""


_NAMES = tuple(
    f"torch.distributed.{name}"
    for name in (
        "all_gather_object", "gather_object", "broadcast_object_list", "scatter_object_list", "send_object_list",
        "recv_object_list",
    )
)  # fmt: skip


@rule(code="TW803", severity="hint", default=False)
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at calls."""
    for call in once_per_place(analysis.calls(*_NAMES)):
        yield Hit(
            place=analysis.place(call.node, call.context),
            message="objects are sent as pickles, which can run any program",
            fix="Send tensors, if ranks are not all trusted.",
        )
