"""Losses on plain lists: cross-entropy with ignored and smoothed targets, smooth L1 with its two parametrisations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from trainworthy.errors import ShapeError, UsageError
from trainworthy.formulas.checks import Shape, shape_text, whole_shape

LossReduction = Literal["mean", "sum", "none"]


class CrossEntropyShapes(NamedTuple):
    """Shapes of targets and loss for given logits."""

    target: Shape
    probabilities: Shape
    unreduced: Shape


def cross_entropy_shapes(*, logits: Sequence[int]) -> CrossEntropyShapes:
    """Return the shapes that go with logits (C,), (N, C) or (N, C, d1, ..., dk).

    Shapes:   logits (N, C, d1, ..., dk) -> class indices (N, d1, ..., dk), or probabilities of the shape of the logits;
              the loss without reduction has the shape of the indices. The classes are dimension 1, not the last
    Exact?    yes
    Source:   docs of torch.nn.CrossEntropyLoss (torch 2.13)

    >>> cross_entropy_shapes(logits=(8, 50257, 1024)).target
    (8, 1024)

    Raises:
        ShapeError: If the logits have no dimension.
    """
    sizes = whole_shape("the logits", logits)
    if not sizes:
        raise ShapeError("Logits need a dimension of classes, got a scalar.")
    rest = sizes[:1] + sizes[2:] if len(sizes) > 1 else ()
    return CrossEntropyShapes(rest, sizes, rest)


def check_target(*, logits: Sequence[int], target: Sequence[int]) -> None:
    """Check that a target goes with logits, as indices or as probabilities.

    Exact?    yes
    Source:   docs of torch.nn.CrossEntropyLoss (torch 2.13)

    >>> check_target(logits=(8, 1024, 50257), target=(8, 1024))
    Traceback (most recent call last):
    ...
    trainworthy.errors.ShapeError: Logits (8, 1024, 50257) need targets (8, 50257), got (8, 1024).
      fix:   The classes must be dimension 1: logits.transpose(1, 2), or logits.flatten(0, 1) with target.flatten().

    Raises:
        ShapeError: If it does not.
    """
    shapes = cross_entropy_shapes(logits=logits)
    if tuple(target) in (shapes.target, shapes.probabilities):
        return
    last_is_classes = len(logits) > 2 and tuple(target) == tuple(logits[:-1])
    raise ShapeError(
        f"Logits {shape_text(logits)} need targets {shape_text(shapes.target)}, got {shape_text(target)}.",
        fix="The classes must be dimension 1: logits.transpose(1, 2), or logits.flatten(0, 1) with target.flatten()."
        if last_is_classes
        else "Class indices have the shape of the logits without dimension 1.",
    )


def log_softmax(*, logits: Sequence[float]) -> tuple[float, ...]:
    """Return the logarithm of softmax, with the largest logit taken off first so that nothing overflows.

    Shapes:   (C,) -> (C,)
    Exact?    to rounding
    Source:   ``x - max - log(sum(exp(x - max)))``; torch.log_softmax

    >>> [round(v, 4) for v in log_softmax(logits=[1000.0, 1000.0])]
    [-0.6931, -0.6931]
    """
    top = max(logits)
    total = math.log(sum(math.exp(value - top) for value in logits))
    return tuple(value - top - total for value in logits)


def cross_entropy(
    *, logits: Sequence[Sequence[float]], targets: Sequence[int], weights: Sequence[float] | None = None,
    ignore_index: int = -100, label_smoothing: float = 0.0, reduction: LossReduction = "mean",
) -> float | tuple[float, ...]:  # fmt: skip
    """Return the cross-entropy of class indices.

    The mean is over what is not ignored, weighted: ``sum(l_n) / sum(w[y_n])``. Averaging such means over micro-batches
    with different numbers of ignored targets is not the mean of the whole batch.

    Shapes:   logits (N, C), targets (N,) -> scalar, or (N,) without reduction
    Unit:     nats
    Exact?    to rounding; NaN if everything is ignored, as 0 / 0
    Source:   docs of torch.nn.CrossEntropyLoss (torch 2.13); Szegedy et al. 2016 (arXiv 1512.00567), section 7, for
              label smoothing: ``(1 - e) * l + e / C * sum_c -w_c log p_c``

    >>> round(cross_entropy(logits=[[2.0, 0.0], [0.0, 0.0]], targets=[0, -100]), 4)
    0.1269
    >>> cross_entropy(logits=[[0.0, 0.0]], targets=[-100])
    nan

    Raises:
        ShapeError: If a target is no class, or there are not as many as rows.
        UsageError: If the smoothing is not between 0 and 1.
    """
    if not 0 <= label_smoothing <= 1:
        raise UsageError(f"label_smoothing must be between 0 and 1, got {label_smoothing}.")
    if len(logits) != len(targets):
        raise ShapeError(f"{len(logits)} rows of logits, but {len(targets)} targets.")
    losses, total_weight = [], 0.0
    for row, target in zip(logits, targets, strict=True):
        if target == ignore_index:
            losses.append(0.0)
            continue
        if not 0 <= target < len(row):
            raise ShapeError(f"Target {target} is not a class: 0 to {len(row) - 1}, or ignore_index {ignore_index}.")
        scale = [1.0] * len(row) if weights is None else list(weights)
        logs = log_softmax(logits=row)
        smooth = -sum(w * log for w, log in zip(scale, logs, strict=True)) / len(row)
        losses.append((1 - label_smoothing) * -scale[target] * logs[target] + label_smoothing * smooth)
        total_weight += scale[target]
    if reduction == "none":
        return tuple(losses)
    if reduction == "sum":
        return math.fsum(losses)
    return math.fsum(losses) / total_weight if total_weight else math.nan


def smooth_l1(*, difference: float, beta: float = 1.0) -> float:
    """Return smooth L1 as PyTorch writes it: a parabola up to ``beta``, a line beyond; at beta 0, L1.

    Exact?    yes
    Source:   docs of torch.nn.SmoothL1Loss: ``0.5 x^2 / beta`` if ``|x| < beta`` else ``|x| - 0.5 beta``;
              Girshick 2015, Fast R-CNN (arXiv 1504.08083), equation 3, is beta 1

    >>> smooth_l1(difference=0.5), smooth_l1(difference=-3), smooth_l1(difference=0.5, beta=0)
    (0.125, 2.5, 0.5)

    Raises:
        UsageError: If beta is negative.
    """
    if beta < 0:
        raise UsageError(f"beta must be at least 0, got {beta}.")
    size = abs(difference)
    return 0.5 * size * size / beta if size < beta else size - 0.5 * beta


def smooth_l1_sigma(
    *, difference: float, sigma: float = 1.0, inside_weight: float = 1.0, outside_weight: float = 1.0
) -> float:
    """Return smooth L1 as Faster R-CNN writes it.

    ``x = inside_weight * (prediction - target)`` lets only positive boxes count (0 or 1); the result is multiplied by
    ``outside_weight``, which is 1 / N_reg. The parabola is ``0.5 (sigma x)^2``: with ``(sigma^2 x)^2``, as it is often
    copied, the two parts do not meet at ``1 / sigma^2`` unless sigma is 1.

    Exact?    yes; equals ``smooth_l1`` with ``beta = 1 / sigma^2``
    Source:   caffe-fast-rcnn, smooth_L1_loss_layer.cu: ``0.5 * (sigma * x)^2`` if ``|x| < 1 / sigma^2`` else
              ``|x| - 0.5 / sigma^2``

    >>> smooth_l1_sigma(difference=0.1, sigma=3), smooth_l1_sigma(difference=2, sigma=2, outside_weight=0.5)
    (0.04500000000000001, 0.9375)

    Raises:
        UsageError: If sigma is not positive.
    """
    if sigma <= 0:
        raise UsageError(f"sigma must be more than 0, got {sigma}.")
    x, bend = abs(inside_weight * difference), 1 / (sigma * sigma)
    return outside_weight * (0.5 * (sigma * x) ** 2 if x < bend else x - 0.5 * bend)


def huber(*, difference: float, delta: float = 1.0) -> float:
    """Return the Huber loss: delta times smooth L1 with ``beta = delta``.

    Exact?    yes
    Source:   docs of torch.nn.HuberLoss; Huber 1964

    >>> huber(difference=3, delta=2), 2 * smooth_l1(difference=3, beta=2)
    (4.0, 4.0)

    Raises:
        UsageError: If delta is not positive.
    """
    if delta <= 0:
        raise UsageError(f"delta must be more than 0, got {delta}.")
    size = abs(difference)
    return 0.5 * size * size if size < delta else delta * (size - 0.5 * delta)
