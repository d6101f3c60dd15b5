"""Losses on plain lists against torch, over all options."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from trainworthy.errors import ShapeError, UsageError
from trainworthy.formulas.loss import (
    LossReduction,
    check_target,
    cross_entropy,
    cross_entropy_shapes,
    huber,
    log_softmax,
    smooth_l1,
    smooth_l1_sigma,
)

logit = st.floats(-20, 20)
difference = st.floats(-100, 100)


@settings(max_examples=300)
@given(st.data(), st.sampled_from(["mean", "sum", "none"]), st.floats(0, 1), st.booleans())
def test_cross_entropy_agrees_with_torch(
    data: st.DataObject, reduction: LossReduction, smoothing: float, weighted: bool
) -> None:
    n, c = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 5))
    logits = [data.draw(st.lists(logit, min_size=c, max_size=c)) for _ in range(n)]
    targets = data.draw(st.lists(st.sampled_from([-100, *range(c)]), min_size=n, max_size=n))
    weights = data.draw(st.lists(st.floats(0.1, 3), min_size=c, max_size=c)) if weighted else None
    ours = cross_entropy(
        logits=logits, targets=targets, weights=weights, label_smoothing=smoothing, reduction=reduction
    )
    expected = F.cross_entropy(
        torch.tensor(logits, dtype=torch.float64), torch.tensor(targets),
        weight=None if weights is None else torch.tensor(weights, dtype=torch.float64),
        label_smoothing=smoothing, reduction=reduction,
    )  # fmt: skip
    assert torch.allclose(torch.tensor(ours, dtype=torch.float64), expected, atol=1e-9, equal_nan=True)


@settings(max_examples=200)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple))
def test_shapes_agree_with_torch(logits: tuple[int, ...]) -> None:
    shapes = cross_entropy_shapes(logits=logits)
    target = torch.zeros(shapes.target, dtype=torch.int64)
    out = F.cross_entropy(torch.zeros(logits), target, reduction="none")
    assert tuple(out.shape) == shapes.unreduced
    check_target(logits=logits, target=shapes.target)
    check_target(logits=logits, target=shapes.probabilities)
    assert F.cross_entropy(torch.zeros(logits), torch.zeros(shapes.probabilities)).shape == ()


@settings(max_examples=200)
@given(st.lists(logit, min_size=1, max_size=6), st.floats(-1000, 1000))
def test_log_softmax_agrees_with_torch_and_ignores_a_shift(values: list[float], shift: float) -> None:
    ours = log_softmax(logits=values)
    assert torch.allclose(
        torch.tensor(ours, dtype=torch.float64), torch.tensor(values, dtype=torch.float64).log_softmax(0)
    )
    assert sum(map(math.exp, ours)) == pytest.approx(1)
    assert log_softmax(logits=[v + shift for v in values]) == pytest.approx(ours, abs=1e-9)


def test_means_of_micro_batches_are_not_the_mean() -> None:
    logits, targets = [[2.0, 0.0], [0.0, 1.0], [0.0, 0.0], [3.0, 0.0]], [0, -100, -100, 1]
    whole: Any = cross_entropy(logits=logits, targets=targets)
    halves: Any = [cross_entropy(logits=logits[i : i + 2], targets=targets[i : i + 2]) for i in (0, 2)]
    assert sum(halves) / 2 == pytest.approx(whole)  # one counted target in each half: equal by chance
    targets[1] = 0
    halves = [cross_entropy(logits=logits[i : i + 2], targets=targets[i : i + 2]) for i in (0, 2)]
    assert sum(halves) / 2 != pytest.approx(cross_entropy(logits=logits, targets=targets))


@settings(max_examples=250)
@given(difference, st.floats(0.01, 10))
def test_smooth_l1_and_huber_agree_with_torch(x: float, beta: float) -> None:
    at, zero = torch.tensor(x, dtype=torch.float64), torch.tensor(0, dtype=torch.float64)
    assert smooth_l1(difference=x, beta=beta) == pytest.approx(F.smooth_l1_loss(at, zero, beta=beta).item())
    assert smooth_l1(difference=x, beta=0) == pytest.approx(abs(x))
    assert huber(difference=x, delta=beta) == pytest.approx(F.huber_loss(at, zero, delta=beta).item())
    assert huber(difference=x, delta=beta) == pytest.approx(beta * smooth_l1(difference=x, beta=beta))


@settings(max_examples=250)
@given(difference, st.floats(0.1, 10), st.sampled_from([0.0, 1.0]), st.floats(0, 2))
def test_sigma_is_beta_in_other_words(x: float, sigma: float, inside: float, outside: float) -> None:
    ours = smooth_l1_sigma(difference=x, sigma=sigma, inside_weight=inside, outside_weight=outside)
    assert ours == pytest.approx(outside * smooth_l1(difference=inside * x, beta=1 / sigma**2))


@settings(max_examples=200)
@given(st.floats(0.1, 10))
def test_the_two_parts_meet(sigma: float) -> None:
    bend = 1 / sigma**2
    below = smooth_l1_sigma(difference=bend * (1 - 1e-9), sigma=sigma)
    assert below == pytest.approx(smooth_l1_sigma(difference=bend * (1 + 1e-9), sigma=sigma), rel=1e-6)


def test_refusals() -> None:
    with pytest.raises(ShapeError, match="need targets"):
        check_target(logits=(8, 1024, 50257), target=(8, 1024))
    with pytest.raises(ShapeError, match="need targets \\(8,\\), got \\(8, 1\\)"):
        check_target(logits=(8, 10), target=(8, 1))
    with pytest.raises(ShapeError, match="got a scalar"):
        cross_entropy_shapes(logits=())
    with pytest.raises(ShapeError, match="Target 2 is not a class"):
        cross_entropy(logits=[[0.0, 0.0]], targets=[2])
    with pytest.raises(ShapeError, match="1 rows of logits, but 2 targets"):
        cross_entropy(logits=[[0.0, 0.0]], targets=[0, 1])
    with pytest.raises(UsageError, match="label_smoothing"):
        cross_entropy(logits=[[0.0, 0.0]], targets=[0], label_smoothing=2)
    with pytest.raises(UsageError, match="beta"):
        smooth_l1(difference=1, beta=-1)
    with pytest.raises(UsageError, match="sigma"):
        smooth_l1_sigma(difference=1, sigma=0)
    with pytest.raises(UsageError, match="delta"):
        huber(difference=1, delta=0)
