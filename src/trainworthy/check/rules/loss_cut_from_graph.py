"""A backward pass reaches no parameter.

What it finds:
    The graph of a loss holds no nn.Parameter, twice, and the optimizer steps all the same.

Why:
    The loss was detached (item, numpy, torch.tensor(loss), no_grad) and got requires_grad again: nothing is learnt.

How sure:
    Sure of the graph. Silent if any backward pass between the same steps reached parameters. Optimising an input (style
    transfer, adversarial examples) has no parameter either, and is not reported if no optimizer holds parameters.
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
model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for step in range(4):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)
    loss = torch.tensor(loss.item(), requires_grad=True)
    optimizer.zero_grad()
    loss.backward()  # <- TW321
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for step in range(4):
    x, y = torch.randn(8, 4, requires_grad=True), torch.randint(3, (8,))
    nn.functional.cross_entropy(model(x), y).backward()
    x.grad.norm()
    optimizer.step()
    optimizer.zero_grad()
"""


@rule(code="TW321", severity="error", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield backward passes without a parameter before two steps."""
    parameters = {s.step for s in facts.steps if s.trainable and len(s.without_gradient) == s.trainable}
    by_step: dict[int, list[bool]] = {}
    for b in facts.backwards:
        if b.reaches_parameter is not None:
            by_step.setdefault(b.step, []).append(b.reaches_parameter)
    empty = [n for n, reached in by_step.items() if not any(reached) and n in parameters]
    if len(empty) >= 2:
        first = next(b for b in facts.backwards if b.step == empty[0])
        yield Hit(
            place=first.place,
            message=f"The graph of this loss holds no nn.Parameter (in {len(empty)} steps): nothing can be learnt from it",
            evidence=(Evidence(f"{first.num_graph_nodes} nodes in the graph"),),
            fix="Do not rebuild the loss from numbers: no .item(), .detach(), torch.tensor(loss) on the way.",
        )
