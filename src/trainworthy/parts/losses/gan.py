"""Losses of generative adversarial networks, on logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from trainworthy.errors import ShapeError, UsageError

GanKind = Literal["minimax", "non-saturating", "least-squares", "hinge", "wasserstein"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GanLoss:
    """What each of the two networks minimises; both take logits (no sigmoid) and return a mean over the samples.

    With D = sigmoid(logit):

    - ``minimax``: D minimises ``-log D(real) - log(1 - D(fake))``, G minimises ``log(1 - D(fake))``. Where D is sure,
      G gets next to no gradient (Goodfellow et al. 2014, arXiv 1406.2661, equation 1).
    - ``non-saturating``: the same D; G minimises ``-log D(fake)`` (section 3 there). Take this one of the two.
    - ``least-squares``: D ``((real - 1)^2 + fake^2) / 2``, G ``(fake - 1)^2 / 2`` (Mao et al. 2017, arXiv 1611.04076).
    - ``hinge``: D ``max(0, 1 - real) + max(0, 1 + fake)``, G ``-fake`` (Lim and Ye 2017, arXiv 1705.02894).
    - ``wasserstein``: D ``fake - real``, G ``-fake``; D must be Lipschitz, so add :func:`gradient_penalty` (Arjovsky et
      al. 2017, arXiv 1701.07875).

    Attributes:
        kind: Which.
        real_label: What D is told of real samples; 0.9 is the one-sided smoothing of Salimans et al. 2016
            (arXiv 1606.03498), section 3.4. Fakes are always 0: smoothing those makes G's own mistakes a target.
        flip: The share of samples for which D is told the opposite, drawn anew each time.

    >>> loss = GanLoss(kind="hinge")
    >>> loss.discriminator(torch.tensor([2.0, 0.0]), torch.tensor([-2.0])), loss.generator(torch.tensor([3.0]))
    (tensor(0.5000), tensor(-3.))

    Raises:
        UsageError: If there is no such kind, a share is not between 0 and 1, or there are no labels to change.
    """

    kind: GanKind = "non-saturating"
    real_label: float = 1.0
    flip: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        if self.kind not in get_args(GanKind):
            raise UsageError(f"There is no GAN loss {self.kind!r}.", fix=f"Known: {', '.join(get_args(GanKind))}.")
        if not 0 < self.real_label <= 1 or not 0 <= self.flip < 1:
            raise UsageError(
                f"real_label is {self.real_label} and flip is {self.flip}.",
                fix="real_label is above 0 and at most 1, flip at least 0 and below 1.",
            )
        if self.kind in ("hinge", "wasserstein") and (self.real_label, self.flip) != (1.0, 0.0):
            raise UsageError(f"The {self.kind} loss has no labels to smooth or flip.")

    def discriminator(self, real: Tensor, fake: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Return the loss of the discriminator; give ``fake`` of detached images.

        Shapes:   real (N,), fake (M,) -> scalar
        """
        if self.kind == "wasserstein":
            return fake.mean() - real.mean()
        if self.kind == "hinge":
            return (1 - real).relu().mean() + (1 + fake).relu().mean()
        return self._told(real, self.real_label, 0.0, generator) + self._told(fake, 0.0, self.real_label, generator)

    def generator(self, fake: Tensor) -> Tensor:
        """Return the loss of the generator.

        Shapes:   (N,) -> scalar
        """
        if self.kind == "minimax":
            return -functional.softplus(fake).mean()
        if self.kind == "non-saturating":
            return functional.softplus(-fake).mean()
        if self.kind == "least-squares":
            return (fake - 1).square().mean() / 2
        return -fake.mean()

    def _told(self, logits: Tensor, label: float, opposite: float, generator: torch.Generator | None) -> Tensor:
        labels = torch.full_like(logits, label)
        if self.flip:
            draws = torch.rand(logits.shape, device=logits.device, generator=generator)
            labels = labels.masked_fill(draws < self.flip, opposite)
        if self.kind == "least-squares":
            return (logits - labels).square().mean() / 2
        return functional.binary_cross_entropy_with_logits(logits, labels)


def gradient_penalty(
    critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, *, target: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:  # fmt: skip
    """Return how far the critic's gradient is from norm ``target``, at points between real and fake.

    Multiply it by 10, as published, and add it to the critic's loss. The critic must not have batch norm, which mixes
    the samples of a batch.

    Shapes:   real and fake (N, ...) -> scalar: the mean of ``(|gradient| - target)^2``
    Source:   Gulrajani et al. 2017 (arXiv 1704.00028), equation 3

    >>> gradient_penalty(lambda x: 3 * x[:, 0], torch.zeros(4, 2), torch.ones(4, 2)).item()
    4.0

    Raises:
        ShapeError: If real and fake have different shapes.
    """
    if real.shape != fake.shape:
        raise ShapeError(
            f"real has shape {tuple(real.shape)}, fake {tuple(fake.shape)}; points between them need pairs.",
            fix="Make as many fakes as there are real samples in this batch.",
        )
    share = torch.rand((real.shape[0], *(1,) * (real.dim() - 1)), device=real.device, generator=generator)
    between = (real.detach() * share + fake.detach() * (1 - share)).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    norms: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
    return torch.mean((norms - target).square())
