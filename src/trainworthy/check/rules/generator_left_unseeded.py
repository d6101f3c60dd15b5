"""A program seeds some random generators and draws from another.

What it finds:
    The program calls `torch.manual_seed`, `np.random.seed` or `random.seed`, and draws from one of the three libraries
    that it does not seed: for torch, any draw at all; for the others, by their module's own functions.

Why:
    The run looks repeatable and is not: which samples are chosen, how they are shuffled and augmented, or how weights
    begin, is different each time. A result that does not come back cannot be debugged or compared.

How sure:
    Sure of what was called in this process until the look ended. Draws that do not touch the training are left out by
    the words of their line (ports, names, temporary files); what draws from a generator of its own is fine.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule

BAD = """\
import random

import torch
from torch import nn

torch.manual_seed(0)  # <- TW665
rows = list(range(32))
random.shuffle(rows)
data = torch.randn(32, 4)[rows]
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x in data.split(8):
    loss = model(x).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = BAD.replace("  # <- TW665", "\nrandom.seed(0)")

_SEED = {"torch": "torch.manual_seed(seed)", "numpy.random": "np.random.seed(seed)", "random": "random.seed(seed)"}


@rule(code="TW665", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield libraries that were drawn from."""
    for fact in facts.unseeded:
        what = Evidence("the first draw", fact.drawn) if fact.drawn else Evidence("the state of its generator moved")
        yield Hit(
            place=fact.place,
            message=f"{' and '.join(fact.seeded)} {'is' if len(fact.seeded) == 1 else 'are'} seeded, and "
            f"{fact.library}, which the program draws from, is not",
            evidence=(what,),
            fix=f"Seed it, too: `{_SEED[fact.library]}`.",
        )
