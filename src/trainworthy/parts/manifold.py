"""How good made samples are: precision and recall among real ones, and what a classifier says of them."""

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


def class_score(shares: Tensor) -> float:
    """Return how sure a classifier is of each sample and how evenly the classes come, from 1 to the number of classes.

    It is exp of the mean divergence of a sample's classes from those of all: 1 if nothing can be told apart, or if all
    samples are of one class; as many as there are classes if each sample is surely of one, and all are as frequent.

    Shapes:   (N, classes), each row a distribution
    Source:   the inception score of Salimans et al. 2016 (arXiv 1606.03498), section 4, for any classifier

    >>> round(class_score(torch.eye(4)), 3), round(class_score(torch.tensor([[1.0, 0.0], [1.0, 0.0]])), 3)
    (4.0, 1.0)

    Raises:
        ShapeError: If it is not a table with a row for each of at least one sample.
    """
    if shares.dim() != 2 or len(shares) == 0:
        raise ShapeError(f"shares has shape {tuple(shares.shape)}; it must be (samples, classes).")
    logs = (shares.double() / shares.double().mean(0)).clamp_min(1e-12).log()
    return float((shares * logs).nan_to_num().sum(1).mean().exp())


def _share_among(samples: Tensor, others: Tensor, neighbours: int) -> float:
    exact = "donot_use_mm_for_euclid_dist"  # the product form loses the digits of small distances
    radius = torch.cdist(others, others, compute_mode=exact).kthvalue(neighbours + 1, dim=1).values  # itself is nearest
    inside = torch.cdist(samples, others, compute_mode=exact) <= radius
    return float(inside.any(dim=1).double().mean())
