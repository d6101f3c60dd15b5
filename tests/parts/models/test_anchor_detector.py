"""Anchors, what they are assigned, and the boxes that are kept; against loops."""

from __future__ import annotations

import pytest
import torch

from trainworthy.parts.losses.smooth_l1 import box_iou, decode_boxes, encode_boxes
from trainworthy.parts.models.anchor_detector import AnchorDetector, Detected, anchors, assign, best_boxes


def test_anchors_are_in_the_order_of_the_head() -> None:
    grid = anchors(24, (8, 16))
    assert grid.shape == (18, 4)
    centres = (grid[:, :2] + grid[:, 2:]) / 2
    assert centres[0].tolist() == centres[1].tolist() == [4.0, 4.0]
    assert centres[2].tolist() == [12.0, 4.0]  # x runs before y
    out = AnchorDetector(classes=2, sizes=(8, 16), width=2)(torch.zeros(1, 3, 24, 24))
    assert out.logits.shape == (1, 18, 3)
    assert out.shifts.shape == (1, 18, 4)


def test_the_head_looks_where_its_anchor_is() -> None:
    model = AnchorDetector(classes=1, sizes=(8,), width=2).eval()
    dark = torch.zeros(1, 3, 64, 64)
    bright = dark.clone()
    bright[..., 0:8, 56:64] = 5.0  # the last place of the first row
    changed = (model(bright).logits - model(dark).logits).abs().sum(-1)[0].reshape(8, 8)
    assert changed[:4, 4:].max() > 0
    assert changed[4:].max() == changed[:, :4].max() == 0


def test_assignment_by_hand() -> None:
    grid = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 20], [50, 50, 60, 60], [4, 0, 14, 10]])
    boxes, classes = torch.tensor([[0.0, 0, 10, 10], [80.0, 80, 90, 90]]), torch.tensor([2, 3])
    found = assign(boxes, classes, grid)
    # IoU with the first box: 1, 0.5, 0, 60/140 = 0.43; none overlaps the second, whose best is then the first anchor.
    assert found.labels[1:].tolist() == [2, 0, -100]
    assert found.inside[:, 0].tolist() == [1.0, 1.0, 0.0, 0.0]
    assert found.outside.sum().item() == pytest.approx(1.0)
    torch.testing.assert_close(found.shifts[1], encode_boxes(boxes[0], grid[1]))
    torch.testing.assert_close(decode_boxes(found.shifts[1], grid[1]), boxes[0])


def test_kept_boxes_are_those_of_greedy_suppression() -> None:
    generator = torch.Generator().manual_seed(0)
    grid = anchors(32, (10, 16))
    found = Detected(torch.randn(2, 32, 4, generator=generator), 0.2 * torch.randn(2, 32, 4, generator=generator))
    boxes, classes, scores = best_boxes(found, grid, count=5)
    for image in range(2):
        shares = found.logits[image].softmax(-1)[:, 1:]
        every = decode_boxes(found.shifts[image], grid)
        order = shares.max(-1).values.argsort(descending=True).tolist()
        kept: list[int] = []
        for row in order:
            if all(box_iou(every[row][None], every[other][None]).item() < 0.5 for other in kept):
                kept.append(row)
        kept = kept[:5]
        torch.testing.assert_close(boxes[image], every[kept])
        assert classes[image].tolist() == (shares.argmax(-1)[kept] + 1).tolist()
        torch.testing.assert_close(scores[image], shares.max(-1).values[kept])


def test_overlaps_of_batches() -> None:
    generator = torch.Generator().manual_seed(2)
    corner = torch.rand(3, 4, 2, generator=generator)
    first = torch.cat([corner, corner + torch.rand(3, 4, 2, generator=generator)], -1)
    second = first[:, :2] + 0.1
    whole = box_iou(first, second)
    for place in range(3):
        torch.testing.assert_close(whole[place], box_iou(first[place], second[place]))
