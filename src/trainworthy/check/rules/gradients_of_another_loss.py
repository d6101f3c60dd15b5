"""A step uses gradients that belong to the loss of another optimizer.

What it finds:
    The gradients of nearly all parameters of an optimizer come from two different backward passes, and between them
    another optimizer stepped; in two steps. From the source: one optimizer for a generator and a discriminator,
    by their names, that steps after the losses of both.

Why:
    The first pass was meant for the other optimizer and reached these parameters too: in a GAN the discriminator's
    loss reaches the generator when its input is not detached, and the generator is trained to be found out.

How sure:
    Sure of the parts, by identity and version of the gradients. Gradients that are cleared before the second pass are
    not mixed. From the source it is a warning; silent where gradients are reversed or `requires_grad` is switched.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.external import is_optimizer
from trainworthy.check.static.queries import once_per_place, optimizer_steps
from trainworthy.check.static.tree import nodes_of

BAD = """\
import torch
from torch import nn

G, D = nn.Linear(4, 6), nn.Linear(6, 1)
optimizer = torch.optim.Adam([*G.parameters(), *D.parameters()])  # <- TW378
for step in range(6):
    optimizer.zero_grad()
    loss_d = D(G(torch.randn(8, 4)).detach()).mean() - D(torch.randn(8, 6)).mean()
    loss_d.backward()
    optimizer.step()
    optimizer.zero_grad()
    loss_g = -D(G(torch.randn(8, 4))).mean()
    loss_g.backward()
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn

G, D = nn.Linear(4, 6), nn.Linear(6, 1)
opt_g, opt_d = torch.optim.Adam(G.parameters()), torch.optim.Adam(D.parameters())
for step in range(6):
    opt_d.zero_grad()
    loss_d = D(G(torch.randn(8, 4)).detach()).mean() - D(torch.randn(8, 6)).mean()
    loss_d.backward()
    opt_d.step()
    opt_g.zero_grad()
    loss_g = -D(G(torch.randn(8, 4))).mean()
    loss_g.backward()
    opt_g.step()
"""
LIVE_BAD = """\
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
LIVE_GOOD = """\
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


_GENERATOR = re.compile(r"(^|_)(net_?)?(g|gen|generator)(_|$|\d)", re.IGNORECASE)
_DISCRIMINATOR = re.compile(r"(^|_)(net_?)?(d|disc|discriminator|critic)(_|$|\d)", re.IGNORECASE)
_TURNED = re.compile(r"revers|grl|requires_grad", re.IGNORECASE)  # the gradient between them, or who learns


@rule(code="TW378", severity="warning")
def find_in_source(analysis: Analysis) -> Iterator[Hit]:
    """Yield optimizers of a generator and a discriminator together that step more than once."""
    for call in once_per_place(iter(analysis.all_calls)):
        if not is_optimizer(call.result) or not call.node.args:
            continue
        owners = [
            last_name(one.func.value)
            for one in nodes_of(call.node.args[0], ast.Call)
            if isinstance(one.func, ast.Attribute) and one.func.attr == "parameters"
        ]
        pair = [next(filter(kind.search, owners), "") for kind in (_GENERATOR, _DISCRIMINATOR)]
        steps = {one.node for one in optimizer_steps(analysis) if all(pair) and one.owner is call.result}
        if len(steps) > 1 and not any(map(_TURNED.search, analysis.source.words)):
            yield Hit(
                place=analysis.place(call.node, call.context),
                message=f"one optimizer steps `{pair[0]}` and `{pair[1]}` after the loss of either: each is also moved "
                "by the loss that works against it",
                fix="Make an optimizer for each, and step the one whose loss it is.",
            )


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
