"""One term of a loss is a sum over the batch, another a mean: their balance depends on the batch's size.

What it finds:
    In the first steps, a loss that adds a sum over all samples to a mean over them: `mse_loss(y, x)`, a mean, and
    `-0.5 * torch.sum(1 + log_var - mu**2 - log_var.exp())`.

Why:
    With twice the batch the sum is twice as large and the mean is not. Each batch size trains another objective, most
    often one whose second term drowns the first (a variational autoencoder that ignores its input), and the last,
    smaller batch of an epoch counts differently. Weights that were found for one batch size are wrong for another.

How sure:
    Sure of the arithmetic. It is quiet about sums that are divided by as much as the batch is large, about sums of
    parameters, and about those of weighted or masked values. Whoever tuned the weight for one batch size may keep it.
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
encoder, decoder = nn.Linear(12, 8), nn.Linear(4, 12)
optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()])
for step in range(4):
    x = torch.rand(16, 12)
    mu, log_var = encoder(x).chunk(2, dim=1)
    z = mu + torch.randn_like(mu) * (0.5 * log_var).exp()
    kl = -0.5 * torch.sum(1 + log_var - mu.pow(2) - log_var.exp())  # <- TW226
    loss = nn.functional.mse_loss(decoder(z), x) + kl
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = BAD.replace("log_var.exp())  # <- TW226", "log_var.exp(), dim=1).mean()")


@rule(code="TW226", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield one finding for each line that sums."""
    seen = set()
    for fact in facts.mixed_terms:
        if fact.place in seen:
            continue
        seen.add(fact.place)
        shape = " x ".join(str(n) for n in fact.shape)
        yield Hit(
            place=fact.place,
            message=f"this term of the loss is a sum over the batch of {fact.batch} ({shape} numbers), another is a "
            "mean: their balance depends on the batch's size",
            evidence=(Evidence("the mean is taken here", fact.mean),),
            fix="Divide the sum by the number of samples, or sum over the other axes and take the mean over the batch.",
        )
