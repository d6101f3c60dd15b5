"""A scatter writes several values into one place.

What it finds:
    `scatter` or `index_copy` of a tensor (not `scatter_add`, `scatter_reduce`, `index_add`) with more indices along its
    axis than the result has places: by counting, some are written twice. In real steps: `x[index] += values` whose
    index names a place twice.

Why:
    Only one of the values stays (of a sum, only one of the terms), and which one is not defined: on a GPU it differs
    from run to run. The gradient of the others is wrong.

How sure:
    Certain by counting; in real steps, the indices were looked at.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.dry.rows import place_of, rows
from trainworthy.check.finding import Hit
from trainworthy.check.live.facts import LiveFacts
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
        if name not in _WRITES or row.phase == "backward" or len(inputs) < 3:
            continue
        # index_copy has one axis of indices; along the others, what is written is as large as the result
        written = inputs[1].shape if name.startswith("scatter") else inputs[2].shape
        longer = [(n, m) for n, m in zip(written, inputs[0].shape, strict=False) if n > m]
        if len(longer) == 1:
            count, places = longer[0]
            yield Hit(
                place=place_of(row.source, tape),
                message=f"{name.partition('.')[0]} writes {count} values into {places} places: at least "
                f"{count - places} are overwritten, in no defined order",
                fix="scatter_add, scatter_reduce or index_add.",
            )


_WRITES = ("scatter.src", "scatter_.src", "index_copy", "index_copy_")


LIVE_BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(6, 4)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(3):
    node, counts = torch.randint(0, 10, (32,)), torch.zeros(10)
    counts[node] += 1  # <- TW661
    pooled = torch.zeros(10, 4).index_add(0, node, model(torch.randn(32, 6)))
    loss = (pooled / counts.clamp(min=1).unsqueeze(1)).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
LIVE_GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(6, 4)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(3):
    node, seen = torch.randint(0, 10, (32,)), torch.zeros(10)
    counts = torch.zeros(10).index_add(0, node, torch.ones(32))
    seen[node] = 1
    some = torch.randperm(10)[:4]
    seen[some] += 1
    pooled = torch.zeros(10, 4).index_add(0, node, model(torch.randn(32, 6)))
    loss = (pooled / counts.clamp(min=1).unsqueeze(1)).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW661", severity="error", depth="live")
def find_live(facts: LiveFacts) -> Iterator[Hit]:
    """Yield each line that lost terms."""
    for one in facts.lost_terms:
        yield Hit(
            place=one.place,
            message=f"a sum is stored at {one.places} places of which {one.distinct} are different: "
            f"{one.places - one.distinct} terms are lost",
            fix="index_add_, scatter_add_, or index_put_(..., accumulate=True).",
        )
