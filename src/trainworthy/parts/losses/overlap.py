"""Dice: how much of what is predicted and what is there overlaps."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from trainworthy.formulas.loss import check_target


def dice_loss(logits: Tensor, target: Tensor, *, ignore_index: int = -100, smooth: float = 1.0) -> Tensor:
    """Return one minus the soft Dice coefficient, the mean over the classes.

    It is a ratio of sums over all pixels of a batch, so it does not add up over micro-batches: accumulated gradients
    are those of another function than the large batch has. Cross-entropy does add up.

    Shapes:   logits (N, C, d1, ..., dk), target (N, d1, ..., dk), int64 -> scalar
    Source:   Milletari et al. 2016 (arXiv 1606.04797), section 3, with the squares left out of the denominator, as in
              Sudre et al. 2017 (arXiv 1707.03237)

    Args:
        logits: Of each class.
        target: Class indices.
        ignore_index: Targets that do not count.
        smooth: Added to numerator and denominator, so that a class that is neither there nor predicted costs nothing.

    >>> round(dice_loss(torch.tensor([[[9.0, -9.0], [-9.0, 9.0]]]), torch.tensor([[0, 1]])).item(), 3)
    0.0

    Raises:
        ShapeError: If logits and target do not go together.
    """
    check_target(logits=logits.shape, target=target.shape)
    counted = (target != ignore_index).unsqueeze(1)
    shares = logits.softmax(dim=1) * counted
    there = functional.one_hot(target.where(target != ignore_index, 0), logits.shape[1]).movedim(-1, 1) * counted
    over = [0, *range(2, logits.dim())]
    both, either = (shares * there).sum(over), shares.sum(over) + there.sum(over)
    return 1 - torch.mean((2 * both + smooth) / (either + smooth))
