"""Cross-entropy of numbers that went through a softmax.

What it finds:
    `CrossEntropyLoss` or `F.cross_entropy` whose input is the result of a softmax or sigmoid, followed through
    variables, views, casts, functions and modules of the project.

Why:
    Cross-entropy applies log-softmax itself. Applied to probabilities, it cannot go below about 1.46 for 10 classes,
    gradients shrink, and training is slow instead of wrong.

How sure:
    The activation is found in the source. A second log-softmax changes nothing and is not reported.

In real steps:
    In the graph of a loss: negative log-likelihood of the log-softmax of a softmax or sigmoid, with nothing but
    changes of form in between. In a rehearsal: the same on the tape.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.dry.rows import place_of
from trainworthy.check.dry.squashed import squashed_twice
from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import CROSS_ENTROPY, once_per_place
from trainworthy.check.static.values import Instance, ProjectClass, Ref, Tensor
from trainworthy.tape.record import Tape

BAD = """\
import torch
import torch.nn as nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 10)

    def forward(self, x):
        return torch.softmax(self.body(x), dim=-1)


net = Net()
criterion = nn.CrossEntropyLoss()
out = net(torch.rand(8, 4))
loss = criterion(out, torch.randint(0, 10, (8,)))  # <- TW201
"""

GOOD = """\
import torch
import torch.nn as nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 10)

    def forward(self, x):
        return self.body(x)


net = Net()
criterion = nn.CrossEntropyLoss()
out = net(torch.rand(8, 4))
loss = criterion(out, torch.randint(0, 10, (8,)))
probabilities = torch.softmax(out, dim=-1)
"""


@rule(code="TW201", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at losses whose input carries an activation."""
    yield from _handed_to_a_trainer(analysis)
    for call in analysis.calls(*CROSS_ENTROPY):
        value = call.argument(0, "input")
        if isinstance(value, Tensor) and value.activation in ("softmax", "sigmoid"):
            yield Hit(
                place=analysis.place(call.node, call.context),
                message=f"cross-entropy gets the result of a {value.activation}; it applies log-softmax itself",
                evidence=origin(analysis, value.made_by, value.activation),
                fix=f"Remove the {value.activation} from what the loss gets; apply it only to predictions.",
            )


def _handed_to_a_trainer(analysis: Analysis) -> Iterator[Hit]:
    """Yield wrappers that get a network class with a softmax at its end, and cross-entropy as their criterion."""
    for call in once_per_place(iter(analysis.all_calls)):
        criterion = call.keywords.get("criterion")
        kind = (
            criterion.name if isinstance(criterion, Ref) else criterion.type if isinstance(criterion, Instance) else ""
        )
        module = call.argument(0, "module")
        if kind != "torch.nn.CrossEntropyLoss" or not isinstance(module, ProjectClass | Instance):
            continue
        cls = module if isinstance(module, ProjectClass) else module.cls
        returned = analysis.returned(cls.lookup("forward")) if cls is not None else None
        if isinstance(returned, Tensor) and returned.activation == "softmax":
            yield Hit(
                place=analysis.place(call.node, call.context),
                message="the criterion, cross-entropy, applies log-softmax itself; the module ends in a softmax",
                evidence=origin(analysis, returned.made_by, "softmax"),
                fix="Remove the softmax from the module; apply it only to predictions.",
            )


def origin(analysis: Analysis, made_by: Call | None, activation: str) -> tuple[Evidence, ...]:
    """Point at the activation."""
    if made_by is None:
        return ()
    place = analysis.place(made_by.node, made_by.context)
    return (Evidence(f"the {activation} is here", place),)


LIVE_BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for step in range(4):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x).softmax(1), y)  # <- TW201
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
LIVE_GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for step in range(4):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    scores = model(x)
    weights = scores.softmax(1)
    loss = nn.functional.cross_entropy(scores, y) + 0.1 * (weights * weights.log()).sum(1).mean()
    loss = loss + nn.functional.cross_entropy(scores.log_softmax(1), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW201", severity="error", depth="live")
def find_live(facts: LiveFacts) -> Iterator[Hit]:
    """Yield each loss whose graph has it."""
    for place in dict.fromkeys(p for b in facts.backwards for f, p in b.faults if f == "softmax-cross-entropy"):
        yield Hit(
            place=place,
            message="cross_entropy gets the output of a softmax; it applies log_softmax itself",
            evidence=(Evidence("graph: NllLoss <- LogSoftmax <- Softmax"),),
            fix="Pass the logits; take softmax only for what is shown or sampled.",
        )


DRY_BAD, DRY_GOOD = LIVE_BAD, LIVE_GOOD


@rule(code="TW201", severity="error", depth="dry")
def find_on_tape(tape: Tape) -> Iterator[Hit]:
    """Yield each such loss of the reference step."""
    for found in squashed_twice(tape):
        if found.loss == "cross_entropy":
            yield Hit(
                place=place_of(found.loss_at, tape),
                message=f"cross-entropy gets the result of a {found.activation}; it applies log-softmax itself",
                evidence=(Evidence(f"the {found.activation} is here", place_of(found.activation_at, tape)),),
                fix=f"Remove the {found.activation} from what the loss gets; apply it only to predictions.",
            )
