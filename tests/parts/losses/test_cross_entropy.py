"""Cross-entropy: the mean is torch's in every combination, and adds up over any split, where means of means do not."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from trainworthy.errors import ShapeError, UsageError
from trainworthy.formulas.loss import cross_entropy as on_lists
from trainworthy.parts.losses.cross_entropy import cross_entropy, target_weight


@given(
    seed=st.integers(0, 2**31), shape=st.sampled_from([(1,), (4,), (3, 3), (2, 2, 3)]), weighted=st.booleans(),
    smoothing=st.sampled_from([0.0, 0.1, 1.0]), kind=st.sampled_from(["indices", "ignoring one class", "soft"]),
)  # fmt: skip
def test_the_mean_is_torchs(seed: int, shape: tuple[int, ...], weighted: bool, smoothing: float, kind: str) -> None:
    torch.manual_seed(seed)
    logits = torch.randn(shape[0], 4, *shape[1:], dtype=torch.float64)
    weight = torch.rand(4, dtype=torch.float64) + 0.1 if weighted else None
    target = torch.rand_like(logits).softmax(1) if kind == "soft" else torch.randint(4, shape)
    ignore = 1 if kind == "ignoring one class" else -100
    if kind == "indices":
        target = target.where(torch.rand(target.shape) < 0.8, ignore)
    got = cross_entropy(logits, target, weight=weight, ignore_index=ignore, label_smoothing=smoothing)
    want = F.cross_entropy(logits, target, weight, ignore_index=ignore, label_smoothing=smoothing)
    torch.testing.assert_close(got.mean, want, equal_nan=True)


@given(seed=st.integers(0, 2**31), cut=st.integers(1, 7))
def test_totals_add_up_over_any_split(seed: int, cut: int) -> None:
    torch.manual_seed(seed)
    logits, target = torch.randn(8, 5, dtype=torch.float64), torch.randint(5, (8,))
    target[torch.rand(8) < 0.4] = -100
    whole = cross_entropy(logits, target)
    parts = [cross_entropy(x, y) for x, y in zip(logits.split(cut), target.split(cut), strict=True)]
    torch.testing.assert_close(sum(part.total for part in parts), whole.total)
    assert sum(part.weight for part in parts) == whole.weight


def test_agrees_with_plain_lists() -> None:
    rows, targets, weights = [[0.5, -1.0, 2.0], [1.0, 0.0, 0.3]], [2, 0], [1.0, 2.0, 3.0]
    got = cross_entropy(torch.tensor(rows), torch.tensor(targets), weight=torch.tensor(weights), label_smoothing=0.2)
    want = on_lists(logits=rows, targets=targets, weights=weights, label_smoothing=0.2)
    assert got.mean.item() == pytest.approx(want)


def test_one_sample_without_a_batch() -> None:
    assert cross_entropy(torch.zeros(4), torch.tensor(1)).mean.item() == pytest.approx(math.log(4))
    assert cross_entropy(torch.zeros(4), torch.full((4,), 0.25)).mean.item() == pytest.approx(math.log(4))


def test_the_weight_is_known_before_the_forward_pass() -> None:
    target, weight = torch.tensor([0, 2, -100]), torch.tensor([0.5, 1.0, 4.0])
    assert target_weight(target).item() == 2
    assert target_weight(target, weight=weight).item() == 4.5
    assert cross_entropy(torch.randn(3, 3), target, weight=weight).weight.item() == 4.5


def test_probabilities_have_no_index_to_ignore() -> None:
    with pytest.raises(UsageError, match="ignore_index is 1"):
        cross_entropy(torch.zeros(2, 3), torch.ones(2, 3), ignore_index=1)


def test_classes_in_the_last_dimension_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"Logits \(2, 7, 11\) need targets \(2, 11\)"):
        cross_entropy(torch.zeros(2, 7, 11), torch.zeros(2, 7, dtype=torch.long))
