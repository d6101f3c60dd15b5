"""Smooth L1 with sigma: against plain numbers, torch's form, and the knee that the copied form gets wrong."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from trainworthy.errors import ShapeError, UsageError
from trainworthy.formulas.loss import smooth_l1_sigma
from trainworthy.parts.losses.smooth_l1 import box_iou, decode_boxes, encode_boxes, smooth_l1

numbers = st.floats(-5, 5)
weights = st.sampled_from([0.0, 0.5, 1.0])


@given(difference=numbers, sigma=st.floats(0.1, 5), inside=weights, outside=weights)
def test_agrees_with_plain_numbers(difference: float, sigma: float, inside: float, outside: float) -> None:
    x = torch.tensor([difference], dtype=torch.float64)
    got = smooth_l1(
        x, torch.zeros_like(x), sigma=sigma, inside_weight=torch.tensor(inside), outside_weight=torch.tensor(outside)
    )
    want = smooth_l1_sigma(difference=difference, sigma=sigma, inside_weight=inside, outside_weight=outside)
    assert got.item() == pytest.approx(want, abs=1e-12)


@pytest.mark.parametrize("sigma", [1.0, 2.0, 3.0])
def test_value_and_slope_meet_at_the_knee(sigma: float) -> None:
    knee = 1 / sigma**2
    x = torch.tensor([knee - 1e-9, knee + 1e-9], dtype=torch.float64, requires_grad=True)
    below, above = smooth_l1(x, torch.zeros_like(x), sigma=sigma, reduction="none")
    assert below.item() == pytest.approx(above.item(), abs=1e-8)
    (slopes,) = torch.autograd.grad(below + above, x)
    assert slopes.tolist() == pytest.approx([1.0, 1.0], abs=1e-6)
    copied = 0.5 * (sigma**2 * knee) ** 2
    assert copied / above.item() == pytest.approx(sigma**2)  # what the docstring says of the copied form


def test_is_torchs_with_another_parameter_and_reductions_reduce() -> None:
    x, y = torch.randn(6, 4), torch.randn(6, 4)
    torch.testing.assert_close(smooth_l1(x, y, sigma=2.0), F.smooth_l1_loss(x, y, reduction="sum", beta=0.25))
    torch.testing.assert_close(smooth_l1(x, y, reduction="mean"), F.smooth_l1_loss(x, y))


def test_weights_make_the_sum_a_mean_over_what_counts() -> None:
    prediction, target = torch.tensor([[1.0], [5.0], [3.0]]), torch.zeros(3, 1)
    positive = torch.tensor([[1.0], [0.0], [1.0]])
    got = smooth_l1(prediction, target, inside_weight=positive, outside_weight=positive / positive.sum())
    assert got.item() == pytest.approx((0.5 + 2.5) / 2)


def test_mistakes_are_said() -> None:
    with pytest.raises(UsageError, match=r"sigma is 0\.0"):
        smooth_l1(torch.zeros(1), torch.zeros(1), sigma=0.0)
    with pytest.raises(ShapeError, match=r"prediction has shape \(8, 1\), target \(8,\)"):
        smooth_l1(torch.zeros(8, 1), torch.zeros(8))


boxes = st.tuples(numbers, numbers, st.floats(0.5, 10), st.floats(0.5, 10))


@given(box=boxes, anchor=boxes)
def test_decoding_undoes_encoding(
    box: tuple[float, float, float, float], anchor: tuple[float, float, float, float]
) -> None:
    (x, y, w, h), (ax, ay, aw, ah) = box, anchor
    corners = torch.tensor([x, y, x + w, y + h], dtype=torch.float64)
    anchors = torch.tensor([ax, ay, ax + aw, ay + ah], dtype=torch.float64)
    shifts = encode_boxes(corners, anchors)
    want = [(x + w / 2 - ax - aw / 2) / aw, (y + h / 2 - ay - ah / 2) / ah, math.log(w / aw), math.log(h / ah)]
    assert shifts.tolist() == pytest.approx(want, abs=1e-9)
    torch.testing.assert_close(decode_boxes(shifts, anchors), corners)


cells = st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 4), st.integers(0, 4))


@given(first=st.lists(cells, min_size=1, max_size=3), second=st.lists(cells, min_size=1, max_size=3))
def test_iou_is_a_count_of_cells(
    first: list[tuple[int, int, int, int]], second: list[tuple[int, int, int, int]]
) -> None:
    def boxes(rows: list[tuple[int, int, int, int]]) -> torch.Tensor:
        return torch.tensor([(x, y, x + w, y + h) for x, y, w, h in rows], dtype=torch.float64)

    def covered(box: tuple[int, int, int, int]) -> set[tuple[int, int]]:
        return {(i, j) for i in range(box[0], box[0] + box[2]) for j in range(box[1], box[1] + box[3])}

    got = box_iou(boxes(first), boxes(second))
    for i, a in enumerate(map(covered, first)):
        for j, b in enumerate(map(covered, second)):
            assert got[i, j].item() == pytest.approx(len(a & b) / len(a | b) if a | b else 0.0)


def test_iou_takes_batches() -> None:
    torch.manual_seed(0)
    low = torch.rand(2, 3, 5, 2)
    first = torch.cat([low, low + torch.rand(2, 3, 5, 2)], dim=-1)
    second = first.flip(2)[:, :, :4]
    got = box_iou(first, second)
    assert got.shape == (2, 3, 5, 4)
    for i in range(2):
        for j in range(3):
            assert torch.equal(got[i, j], box_iou(first[i, j], second[i, j]))
