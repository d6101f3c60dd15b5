"""A scatter writes several values into one place.

What it finds:
    `scatter` of a tensor (not `scatter_add`, `scatter_reduce`, `index_add`) with more indices along its axis than the
    result has places: by counting, some are written twice.

Why:
    Only one of the values stays, and which one is not defined: on a GPU it differs from run to run. The gradient of the
    others is wrong.

How sure:
    Certain by counting.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.dry.rows import place_of, rows
from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.tape.record import Tape

BAD = """\
import torch
from torch import nn

model = nn.Linear(6, 4)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(3):
    node = torch.randint(0, 10, (32, 1)).expand(-1, 4)
    pooled = torch.zeros(10, 4).scatter(0, node, model(torch.rand(32, 6)))  # <- TW661
    loss = pooled.pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn

model = nn.Linear(6, 4)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(3):
    node = torch.randint(0, 10, (32, 1)).expand(-1, 4)
    pooled = torch.zeros(10, 4).scatter_add(0, node, model(torch.rand(32, 6)))
    loss = pooled.pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW661", severity="error", depth="dry")
def find(tape: Tape) -> Iterator[Hit]:
    """Compare the sizes of what is written and where."""
    for row in rows(tape):
        name, inputs = row.signature.name, row.signature.inputs
        if name not in ("scatter.src", "scatter_.src") or row.phase == "backward" or len(inputs) < 3:
            continue
        into, index = inputs[0].shape, inputs[1].shape
        longer = [(n, m) for n, m in zip(index, into, strict=False) if n > m]
        if len(longer) == 1:
            count, places = longer[0]
            yield Hit(
                place=place_of(row.source, tape),
                message=f"scatter writes {count} values into {places} places: at least {count - places} are "
                f"overwritten, "
                "in no defined order",
                fix="scatter_add, scatter_reduce or index_add.",
            )
