"""Smooth L1 with sigma and two weights, as detectors of the Faster R-CNN family use it, and its boxes."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from trainworthy.errors import ShapeError, UsageError

Reduction = Literal["none", "sum", "mean"]


def smooth_l1(
    prediction: Tensor, target: Tensor, *, sigma: float = 1.0, inside_weight: Tensor | None = None,
    outside_weight: Tensor | None = None, reduction: Reduction = "sum",
) -> Tensor:  # fmt: skip
    """Return smooth L1: ``0.5 (sigma x)^2`` where ``|x| < 1 / sigma^2``, else ``|x| - 0.5 / sigma^2``.

    ``x = inside_weight (prediction - target)``: an inside weight of 0 takes a box out, 1 lets it count. What comes out
    is multiplied by ``outside_weight``, such as 1 / N of the boxes that count, so that a sum is their mean.

    Beware of ``0.5 (sigma^2 x)^2``, as it is often copied: unless sigma is 1, that parabola does not meet the line. At
    ``|x| = 1 / sigma^2`` it is 0.5, where the line is ``0.5 / sigma^2``: with sigma 3, a jump by a factor of 9, and
    gradients 9 times as large just below the knee.

    Shapes:   all broadcast -> that shape, or a scalar if reduced
    Source:   caffe-fast-rcnn, smooth_L1_loss_layer.cu; Girshick 2015 (arXiv 1504.08083), equation 3, is sigma 1; equal
              to ``F.smooth_l1_loss`` with ``beta = 1 / sigma^2``

    >>> smooth_l1(torch.tensor([0.1, 2.0]), torch.zeros(2), sigma=3.0, reduction="none")
    tensor([0.0450, 1.9444])

    Raises:
        UsageError: If sigma is not positive.
        ShapeError: If prediction and target have different shapes: a broadcast there is nearly always a mistake.
    """
    if sigma <= 0:
        raise UsageError(f"sigma is {sigma}; it must be more than 0.")
    if prediction.shape != target.shape:
        raise ShapeError(f"prediction has shape {tuple(prediction.shape)}, target {tuple(target.shape)}.")
    x = prediction - target
    x = x if inside_weight is None else x * inside_weight
    loss = functional.smooth_l1_loss(x, torch.zeros_like(x), reduction="none", beta=1 / sigma**2)
    loss = loss if outside_weight is None else loss * outside_weight
    if reduction == "none":
        return loss
    return loss.sum() if reduction == "sum" else loss.mean()


def encode_boxes(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Return what a detector regresses: shifts in units of the anchor, and logarithms of the ratio of sizes.

    Shapes:   boxes and anchors (..., 4) as x1, y1, x2, y2 -> (..., 4) as tx, ty, tw, th
    Source:   Ren et al. 2015 (arXiv 1506.01497), equation 2; corners are points, so a width is x2 - x1

    >>> encode_boxes(torch.tensor([1.0, 0.0, 3.0, 4.0]), torch.tensor([0.0, 0.0, 2.0, 2.0]))
    tensor([0.5000, 0.5000, 0.0000, 0.6931])
    """
    centre, size = _centre_and_size(boxes)
    anchor_centre, anchor_size = _centre_and_size(anchors)
    return torch.cat([(centre - anchor_centre) / anchor_size, (size / anchor_size).log()], dim=-1)


def decode_boxes(shifts: Tensor, anchors: Tensor) -> Tensor:
    """Undo :func:`encode_boxes`.

    Shapes:   (..., 4) and (..., 4) -> (..., 4) as x1, y1, x2, y2

    >>> decode_boxes(torch.tensor([0.5, 0.5, 0.0, 0.0]), torch.tensor([0.0, 0.0, 2.0, 2.0]))
    tensor([1., 1., 3., 3.])
    """
    anchor_centre, anchor_size = _centre_and_size(anchors)
    centre = shifts[..., :2] * anchor_size + anchor_centre
    half = shifts[..., 2:].exp() * anchor_size / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def box_iou(first: Tensor, second: Tensor) -> Tensor:
    """Return the intersection over union of each box with each.

    Shapes:   (..., N, 4), (..., M, 4) as x1, y1, x2, y2 -> (..., N, M); 0 where neither box has an area

    >>> box_iou(torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[1.0, 0.0, 3.0, 2.0]]))
    tensor([[0.3333]])
    """
    low = torch.maximum(first[..., :, None, :2], second[..., None, :, :2])
    high = torch.minimum(first[..., :, None, 2:], second[..., None, :, 2:])
    shared = (high - low).clamp_min(0).prod(dim=-1)
    union = _area(first)[..., :, None] + _area(second)[..., None, :] - shared
    return torch.where(union > 0, shared / union, 0.0)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).clamp_min(0).prod(dim=-1)


def _centre_and_size(boxes: Tensor) -> tuple[Tensor, Tensor]:
    return (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
