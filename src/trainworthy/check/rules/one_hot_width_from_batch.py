"""The width of a one-hot code depends on the labels of the batch.

What it finds:
    `F.one_hot(labels)` without `num_classes`, in a loop or in a module's `forward`.

Why:
    The width is the largest label present plus one, so a batch without the last class has fewer columns.

How sure:
    A hint: if every batch holds every class, the width is right.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.queries import once_per_place

BAD = """\
import torch
import torch.nn.functional as F

for labels in torch.randint(0, 10, (100, 64)):
    codes = F.one_hot(labels)  # <- TW106
"""

GOOD = """\
import torch
import torch.nn.functional as F

for labels in torch.randint(0, 10, (100, 64)):
    codes = F.one_hot(labels, num_classes=10)
"""


@rule(code="TW106", severity="hint")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at calls."""
    for call in once_per_place(analysis.calls("torch.nn.functional.one_hot")):
        if call.has(1, "num_classes") or not call.context.in_loop:
            continue
        yield Hit(
            place=analysis.place(call.node, call.context),
            message="the number of columns is the largest label of each batch plus 1",
            fix="Pass `num_classes=`.",
        )
