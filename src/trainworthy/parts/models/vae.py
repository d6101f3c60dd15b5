"""A variational autoencoder of linear layers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from trainworthy.parts.module import TypedModule


class VaeOutput(NamedTuple):
    """What a VAE returns.

    Attributes:
        logits: Of the reconstruction, in the shape of the input.
        mean: (N, latent) of q(z | x).
        log_variance: (N, latent) of q(z | x).
    """

    logits: Tensor
    mean: Tensor
    log_variance: Tensor


class Vae(TypedModule):
    """Encoder to a normal distribution, one draw of it, decoder.

    In evaluation the draw is replaced by the mean, so that evaluation is not random.

    Shapes:   (N, *shape) -> :class:`VaeOutput`
    Source:   Kingma and Welling 2014 (arXiv 1312.6114), section 2.4 for the draw, appendix C for the networks

    Args:
        shape: Shape of a sample.
        latent: Width of z.
        hidden: Widths of the layers of the encoder; the decoder has them in reverse.

    >>> Vae(shape=(1, 8, 8), latent=2, hidden=(16,))(torch.zeros(3, 1, 8, 8)).logits.shape
    torch.Size([3, 1, 8, 8])
    """

    def __init__(self, *, shape: Sequence[int], latent: int = 20, hidden: Sequence[int] = (400,)) -> None:
        super().__init__()
        size = 1
        for side in shape:
            size *= side
        self.shape, self.latent = tuple(shape), latent
        self.encoder = nn.Sequential(nn.Flatten(), *_layers([size, *hidden]))
        last = hidden[-1] if hidden else size
        self.mean, self.log_variance = nn.Linear(last, latent), nn.Linear(last, latent)
        first = hidden[0] if hidden else latent
        self.decoder = nn.Sequential(*_layers([latent, *reversed(hidden)]), nn.Linear(first, size))

    def forward(self, x: Tensor) -> VaeOutput:
        """Encode, draw, decode."""
        inner = self.encoder(x)
        mean, log_variance = self.mean(inner), self.log_variance(inner)
        z = mean + torch.randn_like(mean) * (log_variance / 2).exp() if self.training else mean
        return VaeOutput(self.decode(z), mean, log_variance)

    def decode(self, z: Tensor) -> Tensor:
        """Return the logits of samples.

        Shapes:   (N, latent) -> (N, *shape)
        """
        logits: Tensor = self.decoder(z).unflatten(1, self.shape)
        return logits


def _layers(widths: Sequence[int]) -> list[nn.Module]:
    return [layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), nn.ReLU(inplace=True))]
