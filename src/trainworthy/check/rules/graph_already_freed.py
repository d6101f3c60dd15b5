"""A backward pass goes through a graph that another has freed.

What it finds:
    Two losses of one step that both come from one output of a network, each with a `backward()` of its own, without
    `retain_graph`: in a GAN, the samples that the generator was trained with are given to the discriminator's loss
    without `detach()`, or the other way round.

Why:
    `backward()` frees what it needs of the graph: the second raises "Trying to backward through the graph a second
    time". With `retain_graph` it would run, and train the generator to be found out.

How sure:
    Sure that both reach the output of the same call: only networks whose source is known and that an optimizer has,
    torch's functions and losses, and arithmetic are followed, in one block. Silent in files that switch `requires_grad`
    or retain graphs.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.freed_graphs import freed_graphs
from trainworthy.check.static.tree import unparsed

BAD = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.fc = nn.Linear(inputs, outputs)

    def forward(self, x):
        return self.fc(x).tanh()


G, D = Net(4, 6), Net(6, 1)
opt_g, opt_d = torch.optim.Adam(G.parameters()), torch.optim.Adam(D.parameters())
for real in torch.randn(10, 8, 6):
    fake = G(torch.randn(8, 4))
    opt_g.zero_grad()
    loss_g = -D(fake).mean()
    loss_g.backward()
    opt_g.step()
    opt_d.zero_grad()
    loss_d = D(fake).mean() - D(real).mean()
    loss_d.backward()  # <- TW394
    opt_d.step()
"""

GOOD = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.fc = nn.Linear(inputs, outputs)

    def forward(self, x):
        return self.fc(x).tanh()


G, D = Net(4, 6), Net(6, 1)
opt_g, opt_d = torch.optim.Adam(G.parameters()), torch.optim.Adam(D.parameters())
for real in torch.randn(10, 8, 6):
    fake = G(torch.randn(8, 4))
    opt_g.zero_grad()
    loss_g = -D(fake).mean()
    loss_g.backward()
    opt_g.step()
    opt_d.zero_grad()
    loss_d = D(fake.detach()).mean() - D(real).mean()
    loss_d.backward()
    opt_d.step()
"""


@rule(code="TW394", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Follow the outputs of networks to the losses of a step."""
    for one in freed_graphs(analysis):
        yield Hit(
            place=analysis.place(one.backward),
            message=f"the graph of `{unparsed(one.network.func)}(...)` is freed by then: this raises",
            evidence=(
                Evidence("it is made here", analysis.place(one.network)),
                Evidence("and freed here", analysis.place(one.first)),
            ),
            fix="detach() the output where the second loss must not train that network, or sum both losses.",
        )
