"""Cross-entropy as the engine wants a loss: a sum, the count of what is summed, and the accuracy beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainworthy.train.recipe import Loss, Mean

if TYPE_CHECKING:
    from torch import Tensor

IGNORED = -100


def classified(logits: Tensor, labels: Tensor, *, smoothing: float = 0.0) -> Loss:
    """Return the cross-entropy over all labels that are not ``IGNORED``, in nats, with ``accuracy``.

    Shapes:   logits (N, ..., classes), labels (N, ...), int64
    """
    from torch.nn import functional

    flat, wanted = logits.flatten(0, -2), labels.flatten()
    total = functional.cross_entropy(
        flat.float(), wanted, ignore_index=IGNORED, label_smoothing=smoothing, reduction="sum"
    )
    counted = wanted != IGNORED
    weight = counted.sum()
    right = ((flat.argmax(-1) == wanted) & counted).sum()
    return Loss(total=total, weight=weight, metrics={"accuracy": Mean(total=right, weight=weight)})


def count_labels(labels: Tensor) -> Tensor:
    """Return how many labels count: what ``Recipe.count`` is for ``classified``."""
    return (labels != IGNORED).sum()
