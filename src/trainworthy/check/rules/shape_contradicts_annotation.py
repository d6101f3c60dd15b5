"""A module gets or gives a shape that its annotation rules out.

What it finds:
    `def forward(self, x: Float[Tensor, "batch time 64"])` called with other sizes, another number of dimensions, a name
    that means two sizes in one call, or a dtype of another kind.

Why:
    An annotation is what the next reader believes. If it is wrong, the model or the words are.

How sure:
    Sure: annotations in jaxtyping's notation are read from the source of `forward` and held against the shapes of the
    calls. What cannot be told (braces, several `*names`, sums of unknown names) fits anything. jaxtyping need not be
    installed, and nothing is decorated.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.dry.notes import noted, place_in
from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.tape.record import Tape

SEEN_BY = "rehearsal"
BAD = """\
from __future__ import annotations
import torch
from torch import Tensor, nn

class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.scores = nn.Linear(16, 5)

    def forward(self, x: Float[Tensor, "batch time 16"]) -> Float[Tensor, "batch time 4"]:  # <- TW121
        return self.scores(x)


def make():
    model = Head().cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step():
        loss = model(torch.rand(3, 7, 16, device="cuda")).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step
"""
GOOD = """\
from __future__ import annotations
import torch
from torch import Tensor, nn

class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.scores = nn.Linear(16, 5)

    def forward(
        self, x: Float[Tensor, "batch *time d"], mask: Bool[Tensor, "batch #time"] | None = None
    ) -> Float[Tensor, "batch ... d-11"]:
        return self.scores(x)


def make():
    model = Head().cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step():
        mask = torch.ones(3, 1, dtype=torch.bool, device="cuda")
        loss = model(torch.rand(3, 7, 16, device="cuda"), mask).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step
"""


@rule(code="TW121", severity="warning", depth="dry")
def find(tape: Tape) -> Iterator[Hit]:
    """Yield each annotation that a call contradicted, once."""
    for note in noted(tape, "annotations"):
        shape = "(" + ", ".join(map(str, note["shape"])) + ("," if len(note["shape"]) == 1 else "") + ")"
        what = "returns" if note["name"] == "return" else f"is given {note['name']} of"
        yield Hit(
            place=place_in(note, tape),
            message=f"{note['class']} {what} shape {shape}, but {note['annotation']} is written: {note['reason']}",
            fix="Mend the annotation, or what is passed.",
        )
