"""Cross-entropy as a sum and its weight, which is what adds up over micro-batches and ranks."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor
from torch.nn import functional

from trainworthy.errors import UsageError
from trainworthy.formulas.loss import check_target


class Total(NamedTuple):
    """A loss as a sum and what to divide it by.

    Attributes:
        total: Sum of the loss over the items counted, a scalar.
        weight: Weight of those items, a scalar: their number, unless classes have weights.
    """

    total: Tensor
    weight: Tensor

    @property
    def mean(self) -> Tensor:
        """The mean; NaN if nothing counts, as 0 / 0."""
        return self.total / self.weight


def cross_entropy(
    logits: Tensor, target: Tensor, *, weight: Tensor | None = None, ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Total:  # fmt: skip
    """Return the sum of the cross-entropy, and the weight that ``F.cross_entropy`` divides it by for its mean.

    The mean of means of micro-batches is not the mean of the whole, where they count different numbers of targets; the
    sum of totals by the sum of weights is.

    Shapes:   logits (C,), (N, C) or (N, C, d1, ..., dk); target the same without C, int64, or probabilities of the
              shape of the logits; weight (C,)
    Unit:     nats
    Source:   torch.nn.CrossEntropyLoss (torch 2.13)

    >>> import torch
    >>> loss = cross_entropy(torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.tensor([0, -100]))
    >>> loss.total, loss.weight
    (tensor(0.1269), tensor(1.))

    Raises:
        ShapeError: If logits and target do not go together.
        UsageError: If an index is to be ignored and the target has none.
    """
    check_target(logits=logits.shape, target=target.shape)
    if target.is_floating_point() and ignore_index >= 0:
        raise UsageError(f"ignore_index is {ignore_index}, but the target holds probabilities.")
    total = functional.cross_entropy(
        logits, target, weight, ignore_index=ignore_index, label_smoothing=label_smoothing, reduction="sum"
    )
    if target.is_floating_point():  # torch divides by the number of rows, whatever the weights of the classes
        rows = target.numel() // target.shape[1 if target.dim() > 1 else 0]
        return Total(total, total.new_tensor(float(rows)))
    return Total(total, target_weight(target, weight=weight, ignore_index=ignore_index).to(total.dtype))


def target_weight(target: Tensor, *, weight: Tensor | None = None, ignore_index: int = -100) -> Tensor:
    """Return what a target of class indices counts, before any forward pass.

    This is what a recipe's ``count`` has to say: the number of targets that are not ignored, or the sum of the weights
    of their classes.

    Shapes:   any -> scalar

    >>> import torch
    >>> target_weight(torch.tensor([[1, 0], [1, -100]]))
    tensor(3)
    >>> target_weight(torch.tensor([1, 0, -100]), weight=torch.tensor([1.0, 5.0]))
    tensor(6.)
    """
    counted = target != ignore_index
    if weight is None:
        return counted.sum()
    return (weight[target.where(counted, 0)] * counted).sum()
