"""A comment gives a shape that the step does not have.

What it finds:
    A line whose comment is nothing but a shape, `# (8, 64, 112, 112)`, `# (N, 64, 112, 112)` or `# 112 x 112 x 64`, and
    none of the results of the line has the sizes that are numbers, in any order, with or without the batch.

Why:
    Comments outlive the code: readers copy sizes from them, and the next layer is made to fit.

How sure:
    Sure of the sizes of this run. A hint, because the comment may speak of other data.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from trainworthy.check.dry.rows import place_of, rows, source_lines
from trainworthy.check.finding import Evidence, Hit, Place
from trainworthy.check.rule import rule
from trainworthy.tape.record import Tape

BAD = """\
import torch
from torch import nn

conv, head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 2)
optimizer = torch.optim.SGD([*conv.parameters(), *head.parameters()], lr=0.1)
for step in range(3):
    x = conv(torch.rand(2, 3, 8, 8))  # (2, 4, 6, 6)  # <- TW167
    loss = head(x.mean((2, 3))).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn

conv, head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 2)
optimizer = torch.optim.SGD([*conv.parameters(), *head.parameters()], lr=0.1)
for step in range(3):
    x = conv(torch.rand(2, 3, 8, 8))  # 8 x 8 x 4
    loss = head(x.mean((2, 3))).pow(2).mean()  # the mean of (2, 5, 7)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""

_SHAPE = re.compile(
    r"#\s*(?:->|shape:?|out:?|output:?)?\s*([\[(]\w+(?:\s*,\s*\w+)+,?[\])]|\d+(?:\s*[x*]\s*\d+)+)\s*(?:#.*)?$"
)


@rule(code="TW167", severity="hint", depth="dry")
def find(tape: Tape) -> Iterator[Hit]:
    """Compare comments with the results of their lines."""
    made: dict[Place, set[tuple[int, ...]]] = {}
    said: dict[Place, str] = {}
    for row in rows(tape):
        if row.phase not in ("forward", "loss", "data") or not row.source.path:
            continue
        place = place_of(row.source, tape)
        if place not in made:
            match = _SHAPE.search("".join(source_lines(row.source, 1)).rstrip())
            if match:
                said[place] = match[1]
        made.setdefault(place, set()).update(t.shape for t in row.signature.outputs)
    for place, text in said.items():
        sizes = re.findall(r"\d+" if "," not in text else r"\w+", text)
        numbers = Counter(int(size) for size in sizes if size.isdecimal())
        seen = made[place]
        alike = [shape for shape in seen if len(shape) - len(sizes) in (0, 1)]
        if not numbers or len(sizes) < 2 or any(not numbers - Counter(shape) for shape in alike):
            continue
        if alike:
            shown = ", ".join(map(str, sorted(alike)[:3]))
            yield Hit(
                place=place,
                message=f"the comment says {text}, and the line makes {shown}",
                evidence=(Evidence(f"{len(seen)} results of other ranks and sizes on the line in all"),),
                fix="Correct the comment, or write an assert.",
            )
