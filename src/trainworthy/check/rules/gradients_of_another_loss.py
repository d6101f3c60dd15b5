"""A step uses gradients that belong to the loss of another optimizer.

What it finds:
    The gradients of nearly all parameters of an optimizer come from two different backward passes, and between them
    another optimizer stepped; in two steps.

Why:
    The first pass was meant for the other optimizer and reached these parameters too: in a GAN the discriminator's
    loss reaches the generator when its input is not detached, and the generator is trained to be found out.

How sure:
    Sure of the parts, by identity and version of the gradients. Gradients that are cleared before the second pass are
    not mixed.
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
G, D = nn.Linear(4, 6), nn.Linear(6, 1)
opt_g, opt_d = torch.optim.Adam(G.parameters()), torch.optim.Adam(D.parameters())
for step in range(6):
    fake = G(torch.randn(8, 4))
    loss_d = D(fake).mean() - D(torch.randn(8, 6)).mean()
    opt_d.zero_grad()
    loss_d.backward()
    opt_d.step()
    loss_g = -D(G(torch.randn(8, 4))).mean()
    loss_g.backward()
    opt_g.step()  # <- TW378
    opt_g.zero_grad()
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
G, D = nn.Linear(4, 6), nn.Linear(6, 1)
opt_g, opt_d = torch.optim.Adam(G.parameters()), torch.optim.Adam(D.parameters())
for step in range(6):
    fake = G(torch.randn(8, 4))
    loss_d = D(fake.detach()).mean() - D(torch.randn(8, 6)).mean()
    opt_d.zero_grad()
    loss_d.backward()
    opt_d.step()
    loss_g = -D(G(torch.randn(8, 4))).mean()
    loss_g.backward()
    opt_g.step()
    opt_g.zero_grad()
"""


@rule(code="TW378", severity="error", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield optimizers that did so in two steps."""
    for place in dict.fromkeys(m.place for m in facts.mixed):
        found = [m for m in facts.mixed if m.place == place]
        if len({m.step for m in found}) >= 2:
            first = found[0]
            yield Hit(
                place=place,
                message=f"the gradients of {first.parameters} parameters come from two losses, and another optimizer "
                "stepped between them",
                evidence=(Evidence("the first is here", first.first), Evidence("the second is here", first.last)),
                fix="detach() what the first loss must not train, or call zero_grad() before the second backward().",
            )
