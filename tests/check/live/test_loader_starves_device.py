"""Waiting for data is a fault on a GPU only, so facts are written by hand; what notes the device is run for real."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import trainworthy as tw
from trainworthy.check.finding import Place
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.live.facts_steps import Batch
from trainworthy.check.rules.loader_starves_device import find


def _facts(*, wait_s: float, device: str = "cuda", steps: int = 10) -> LiveFacts:
    batches = [
        Batch(
            step=n, place=Place("train.py", 7), loader=0, epoch=0, index=n, num_workers=0, content=None, constant=False,
            is_iterable=False, wait_s=wait_s,
        )
        for n in range(steps)
    ]  # fmt: skip
    return LiveFacts(home=Place("train.py", 1), batches=batches, device=device, seconds=1.0, num_steps=steps)


def test_a_loader_that_is_waited_for_is_named() -> None:
    (hit,) = find(_facts(wait_s=0.05))
    assert hit.place == Place("train.py", 7)
    # The first batch is not counted: 9 x 0.05 s.
    assert hit.message == "The training waited 0.45 s of 1.00 s for data; the DataLoader has 0 workers"


@pytest.mark.parametrize("facts", [_facts(wait_s=0.02), _facts(wait_s=0.05, device="cpu"), _facts(wait_s=0.1, steps=7)])
def test_else_it_says_nothing(facts: LiveFacts) -> None:
    assert list(find(facts)) == []


def test_the_device_is_that_of_the_trained_parameters() -> None:
    model = nn.Linear(3, 1, device="meta")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with tw.guard(quiet=True, probe=False) as guard:
        for _ in range(2):
            optimizer.zero_grad()
            model(torch.ones(2, 3, device="meta")).sum().backward()
            optimizer.step()
    assert guard.facts.device == "meta"
