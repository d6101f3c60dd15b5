"""`nn.DataParallel` instead of `DistributedDataParallel`.

What it finds:
    `nn.DataParallel(model)`.

Why:
    One process drives all GPUs through Python threads: inputs are scattered, the model is copied and outputs are
    gathered in every step. PyTorch recommends DistributedDataParallel even on one machine.

How sure:
    A hint about speed; results are right, apart from batch statistics. Silent in tests.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.queries import is_a_test, once_per_place

BAD = """\
import torch.nn as nn

model = nn.DataParallel(nn.Linear(4, 4))  # <- TW411
"""

GOOD = """\
import torch.nn as nn
from torch.nn.parallel import DistributedDataParallel

model = DistributedDataParallel(nn.Linear(4, 4), device_ids=[0])
"""


@rule(code="TW411", severity="hint")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at calls."""
    if is_a_test(analysis.source):
        return
    for call in once_per_place(analysis.calls("torch.nn.DataParallel")):
        yield Hit(
            place=analysis.place(call.node, call.context),
            message="DataParallel copies the model to every GPU in every step",
            fix="Use DistributedDataParallel, one process a GPU.",
        )
