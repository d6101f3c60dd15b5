"""Negative log-likelihood of probabilities instead of their logarithm.

What it finds:
    `NLLLoss` or `F.nll_loss` whose input is the result of a softmax or sigmoid, or the output of a linear layer,
    convolution or torchvision's classifier as it is; a product of vectors; what is called logits; or what a softmax is
    taken of in the same function. Also such a loss in a program in which nothing takes a logarithm: a script with all
    that it imports, or the project, where the network is handed over.

Why:
    The loss takes log-probabilities and does not apply the logarithm. Of probabilities it is minus the probability; of
    a layer's output it is minus the score of the right class, which falls without end while no other score has to.

How sure:
    The activation, the layer or the product is found in the source. Silent about a layer's output where the function
    that makes it has a name of log-probabilities in it, about logits that are given logarithms anywhere in the function
    or by a network that the file imports, and about losses that somebody chooses by name.

In real steps:
    In the graph of a loss: NllLoss on a softmax, a sigmoid or an exponential, with nothing but changes of form in
    between. In a rehearsal: the same on the tape.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.dry.rows import place_of
from trainworthy.check.dry.squashed import squashed_twice
from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule
from trainworthy.check.static import raw_scores
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.queries import NLL
from trainworthy.check.static.values import Tensor
from trainworthy.tape.record import Tape

BAD = """\
import torch
import torch.nn.functional as F

out = F.softmax(torch.rand(8, 10), dim=1)
loss = F.nll_loss(out, torch.randint(0, 10, (8,)))  # <- TW203
"""

GOOD = """\
import torch
import torch.nn.functional as F

out = F.log_softmax(torch.rand(8, 10), dim=1)
loss = F.nll_loss(out, torch.randint(0, 10, (8,)))
again = F.nll_loss(torch.log(F.softmax(out, dim=1)), torch.randint(0, 10, (8,)))  # noqa: TW213
"""


@rule(code="TW203", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at losses whose input carries an activation."""
    for call in analysis.calls(*NLL):
        value = call.argument(0, "input")
        if isinstance(value, Tensor) and value.activation in ("softmax", "sigmoid"):
            made = value.made_by
            where = None if made is None else analysis.place(made.node, made.context)
            yield Hit(
                place=analysis.place(call.node, call.context),
                message=f"nll_loss gets the result of a {value.activation}, not of a log-softmax",
                evidence=(Evidence(f"the {value.activation} is here", where),),
                fix="Use `log_softmax`, or `cross_entropy` on the logits.",
            )
    for call, layer, how in raw_scores.met(analysis):
        yield Hit(
            place=analysis.place(call.node, call.context),
            message="nll_loss gets the output of a layer as it is, not log-probabilities"
            if layer is not None
            else f"nll_loss takes log-probabilities, and {how}",
            evidence=()
            if layer is None
            else (Evidence("the layer is called here", analysis.place(layer.node, layer.context)),),
            fix="Use `cross_entropy`, or end the model in `log_softmax`.",
        )


LIVE_BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for step in range(4):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.nll_loss(model(x).softmax(1), y)  # <- TW203
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
    loss = nn.functional.nll_loss(model(x).log_softmax(1), y) + nn.functional.nll_loss(model(x).softmax(1).log(), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW203", severity="error", depth="live")
def find_live(facts: LiveFacts) -> Iterator[Hit]:
    """Yield each loss whose graph has it."""
    for place in dict.fromkeys(p for b in facts.backwards for f, p in b.faults if f == "nll-probabilities"):
        yield Hit(
            place=place,
            message="nll_loss gets the output of a softmax, sigmoid or exp; it takes log-probabilities",
            evidence=(Evidence("graph: NllLoss <- Softmax, Sigmoid or Exp"),),
            fix="Use log_softmax, or cross_entropy on the logits.",
        )


DRY_BAD, DRY_GOOD = LIVE_BAD, LIVE_GOOD


@rule(code="TW203", severity="error", depth="dry")
def find_on_tape(tape: Tape) -> Iterator[Hit]:
    """Yield each such loss of the reference step."""
    for found in squashed_twice(tape):
        if found.loss == "nll_loss":
            yield Hit(
                place=place_of(found.loss_at, tape),
                message=f"nll_loss gets the result of a {found.activation}; it takes log-probabilities",
                evidence=(Evidence(f"the {found.activation} is here", place_of(found.activation_at, tape)),),
                fix="Use log_softmax, or cross_entropy on the logits.",
            )
