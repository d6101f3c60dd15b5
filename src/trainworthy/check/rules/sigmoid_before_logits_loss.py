"""Binary cross-entropy with logits of numbers that went through a sigmoid.

What it finds:
    `BCEWithLogitsLoss` or its function, whose input is the result of a sigmoid or softmax.

Why:
    The loss applies the sigmoid itself. Twice, probabilities stay between 0.5 and 0.73.

How sure:
    The activation is found in the source.

In real steps:
    In the graph of a loss: BinaryCrossEntropyWithLogits on a sigmoid or softmax, with nothing but changes of form in
    between. In a rehearsal: the same on the tape, also before `multilabel_soft_margin_loss`.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.dry.rows import place_of
from trainworthy.check.dry.squashed import squashed_twice
from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.queries import BCE_LOGITS
from trainworthy.check.static.values import Tensor
from trainworthy.tape.record import Tape

BAD = """\
import torch
import torch.nn as nn

net = nn.Sequential(nn.Linear(4, 1), nn.Sigmoid())
criterion = nn.BCEWithLogitsLoss()
loss = criterion(net(torch.rand(8, 4)), torch.rand(8, 1))  # <- TW202
"""

GOOD = """\
import torch
import torch.nn as nn

net = nn.Sequential(nn.Linear(4, 1), nn.Sigmoid())
criterion = nn.BCELoss()
loss = criterion(net(torch.rand(8, 4)), torch.rand(8, 1))
"""


@rule(code="TW202", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at losses whose input carries an activation."""
    for call in analysis.calls(*BCE_LOGITS):
        value = call.argument(0, "input")
        if not isinstance(value, Tensor) or value.activation not in ("sigmoid", "softmax"):
            continue
        evidence: tuple[Evidence, ...] = ()
        if value.made_by is not None:
            evidence = (
                Evidence(f"the {value.activation} is here", analysis.place(value.made_by.node, value.made_by.context)),
            )
        yield Hit(
            place=analysis.place(call.node, call.context),
            message=f"the loss applies a sigmoid to the result of a {value.activation}",
            evidence=evidence,
            fix="Remove the activation, or use `BCELoss`.",
        )


LIVE_BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(4):
    x, y = torch.randn(8, 4), torch.randint(2, (8, 1)).float()
    loss = nn.functional.binary_cross_entropy_with_logits(torch.sigmoid(model(x)), y)  # <- TW202
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
LIVE_GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(4):
    x, y = torch.randn(8, 4), torch.randint(2, (8, 1)).float()
    loss = nn.functional.binary_cross_entropy_with_logits(model(x), y)
    loss = loss + nn.functional.binary_cross_entropy(torch.sigmoid(model(x)), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW202", severity="error", depth="live")
def find_live(facts: LiveFacts) -> Iterator[Hit]:
    """Yield each loss whose graph has it."""
    for place in dict.fromkeys(p for b in facts.backwards for f, p in b.faults if f == "sigmoid-bce-logits"):
        yield Hit(
            place=place,
            message="binary_cross_entropy_with_logits gets the output of a sigmoid; it applies one itself",
            evidence=(Evidence("graph: BinaryCrossEntropyWithLogits <- Sigmoid"),),
            fix="Pass the logits.",
        )


DRY_BAD, DRY_GOOD = LIVE_BAD, LIVE_GOOD


@rule(code="TW202", severity="error", depth="dry")
def find_on_tape(tape: Tape) -> Iterator[Hit]:
    """Yield each such loss of the reference step."""
    for found in squashed_twice(tape):
        if found.loss == "binary_cross_entropy_with_logits":
            yield Hit(
                place=place_of(found.loss_at, tape),
                message=f"the loss applies a sigmoid to the result of a {found.activation}",
                evidence=(Evidence(f"the {found.activation} is here", place_of(found.activation_at, tape)),),
                fix="Pass the logits.",
            )
