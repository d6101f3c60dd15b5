"""Two optimizers step the very same parameters.

What it finds:
    Two optimizers that step in turns, neither within the other's step, and hold exactly the same parameters.

Why:
    `model_1 = init(net)` and `model_2 = init(net)` are one network under two names: co-training, mutual teaching or a
    pair of critics then trains one model twice, and what was to differ is equal.

How sure:
    Sure of the parameters. Silent about an optimizer that is made anew for each round or task, or that another one
    follows, as L-BFGS does Adam: the first does not step again then.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule

BAD = """\
import torch
from torch import nn

torch.manual_seed(0)


def initialised(model):
    for p in model.parameters():
        nn.init.normal_(p, std=0.1)
    return model


net = nn.Linear(4, 2)
first, second = initialised(net), initialised(net)
optimizers = [torch.optim.SGD(m.parameters(), lr=0.1) for m in (first, second)]
for step in range(4):
    x = torch.randn(8, 4)
    loss = (first(x) - second(x).detach()).pow(2).mean() + (second(x) - 1).pow(2).mean()
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()  # <- TW396
"""
GOOD = BAD.replace("initialised(net), initialised(net)", "initialised(net), initialised(nn.Linear(4, 2))").replace(
    "  # <- TW396", ""
)


@rule(code="TW396", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield such pairs."""
    for fact in facts.twin_optimizers:
        first, second = fact.classes
        yield Hit(
            place=fact.place,
            message=f"two optimizers, {first} and {second}, step the same {fact.parameters} parameters: their models "
            "are one",
            evidence=(Evidence("the other steps here", fact.other),),
            fix="Make two models: call the constructor twice, or `copy.deepcopy(model)` before the second optimizer.",
        )
