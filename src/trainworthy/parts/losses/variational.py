"""The variational bound of an autoencoder."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from trainworthy.parts.losses.cross_entropy import Total

Likelihood = Literal["bernoulli", "normal"]


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return the divergence of N(mean, variance) from N(0, 1), summed over the latent dimensions.

    Shapes:   (N, latent), (N, latent) -> (N,)
    Unit:     nats
    Source:   Kingma and Welling 2014 (arXiv 1312.6114), appendix B

    >>> kl_to_standard_normal(torch.tensor([[1.0, 0.0]]), torch.zeros(1, 2))
    tensor([0.5000])
    """
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=-1)


def negative_elbo(
    logits: Tensor, mean: Tensor, log_variance: Tensor, *, x: Tensor, likelihood: Likelihood = "bernoulli",
    beta: float = 1.0,
) -> Total:  # fmt: skip
    """Return the sum over the samples of reconstruction plus ``beta`` times divergence, and their number.

    Both terms are sums over a sample's numbers. A mean over the pixels instead, as it is often written, weighs the
    divergence by the number of pixels, and the latent code collapses.

    Shapes:   logits and x (N, ...), mean and log_variance (N, latent)
    Unit:     nats
    Source:   Kingma and Welling 2014, equation 10; Higgins et al. 2017 for ``beta``

    Args:
        logits: Of the reconstruction; with ``normal`` its mean.
        mean: Of q(z | x).
        log_variance: Of q(z | x).
        x: The samples; between 0 and 1 with ``bernoulli``.
        likelihood: ``bernoulli``, or ``normal`` with variance 1.
        beta: Weight of the divergence.

    >>> negative_elbo(torch.zeros(2, 4), torch.zeros(2, 1), torch.zeros(2, 1), x=torch.ones(2, 4))
    Total(total=tensor(5.5452), weight=tensor(2.))
    """
    if likelihood == "bernoulli":
        reconstruction = functional.binary_cross_entropy_with_logits(logits, x, reduction="sum")
    else:
        constant = 0.5 * x.numel() * torch.log(torch.tensor(2 * torch.pi))
        reconstruction = 0.5 * functional.mse_loss(logits, x, reduction="sum") + constant.to(logits)
    divergence = kl_to_standard_normal(mean, log_variance).sum()
    return Total(reconstruction + beta * divergence, divergence.new_tensor(float(x.shape[0])))
