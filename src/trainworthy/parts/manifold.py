"""Precision and recall of made samples among real ones, in a space of features."""

from __future__ import annotations

import torch
from torch import Tensor

from trainworthy.errors import ShapeError


def precision_and_recall(real: Tensor, made: Tensor, *, neighbours: int = 3) -> tuple[float, float]:
    """Return which share of the made samples lies among the real ones, and of the real ones among the made.

    A sample lies among others if it is in the ball of one of them that reaches to that one's k-th nearest neighbour. A
    generator that makes one good image again and again has precision and no recall; noise all over has the reverse.

    Shapes:   real (N, D), made (M, D)
    Source:   Kynkaanniemi et al. 2019 (arXiv 1904.06991), equation 1

    >>> points = torch.arange(10.0)[:, None]
    >>> precision_and_recall(points, points + 0.1)
    (1.0, 1.0)
    >>> precision_and_recall(points, points + 100)
    (0.0, 0.0)

    Raises:
        ShapeError: If the features have different widths, or there are not more samples than neighbours.
    """
    if real.dim() != 2 or made.dim() != 2 or real.shape[1] != made.shape[1]:
        raise ShapeError(f"real has shape {tuple(real.shape)}, made {tuple(made.shape)}; both must be (count, width).")
    if min(len(real), len(made)) <= neighbours:
        raise ShapeError(f"{len(real)} real and {len(made)} made samples are too few for {neighbours} neighbours.")
    return _share_among(made, real, neighbours), _share_among(real, made, neighbours)


def _share_among(samples: Tensor, others: Tensor, neighbours: int) -> float:
    exact = "donot_use_mm_for_euclid_dist"  # the product form loses the digits of small distances
    radius = torch.cdist(others, others, compute_mode=exact).kthvalue(neighbours + 1, dim=1).values  # itself is nearest
    inside = torch.cdist(samples, others, compute_mode=exact) <= radius
    return float(inside.any(dim=1).double().mean())
