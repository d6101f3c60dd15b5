"""Dice against sets of pixels."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainworthy.errors import ShapeError
from trainworthy.parts.losses.overlap import dice_loss


@given(seed=st.integers(0, 2**31), smooth=st.sampled_from([0.5, 1.0]))
def test_sure_predictions_are_dice_of_sets(seed: int, smooth: float) -> None:
    torch.manual_seed(seed)
    predicted, target = torch.randint(3, (2, 4, 5)), torch.randint(3, (2, 4, 5))
    target[torch.rand(target.shape) < 0.2] = -100
    logits = 200 * torch.nn.functional.one_hot(predicted, 3).movedim(-1, 1).double()
    scores = []
    for label in range(3):
        counted = target != -100
        a = {tuple(place) for place in ((predicted == label) & counted).nonzero().tolist()}
        b = {tuple(place) for place in (target == label).nonzero().tolist()}
        scores.append((2 * len(a & b) + smooth) / (len(a) + len(b) + smooth))
    assert dice_loss(logits, target, smooth=smooth).item() == pytest.approx(1 - sum(scores) / 3)


def test_it_can_be_learned() -> None:
    torch.manual_seed(0)
    logits, target = torch.zeros(1, 2, 6, requires_grad=True), torch.tensor([[0, 0, 1, 1, 0, 1]])
    for _ in range(50):
        (slope,) = torch.autograd.grad(dice_loss(logits, target), logits)
        logits = (logits - 20 * slope).detach().requires_grad_()
    assert torch.equal(logits.argmax(1), target)


def test_shapes_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(ShapeError):
        dice_loss(torch.zeros(2, 3, 4), torch.zeros(2, 3, dtype=torch.long))
