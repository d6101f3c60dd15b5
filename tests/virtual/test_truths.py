"""Conditions on values that are unknown. Assertions must stay as Python compiles them: PYTEST_DONT_REWRITE."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainworthy.virtual.gpu import VirtualGpu
from trainworthy.virtual.truths import PATIENCE

pytestmark = pytest.mark.usefixtures("gpu")


def unknown() -> torch.Tensor:
    out: torch.Tensor = nn.Linear(4, 1).cuda()(torch.rand(4, device="cuda"))
    return out.squeeze()


def test_a_comparison_is_false_and_known_values_are_known() -> None:
    assert bool(unknown() > 0) is False
    assert bool(torch.tensor(3.0, device="cuda") > 2)
    assert not torch.tensor([0], device="cuda")
    with pytest.raises(RuntimeError, match="ambiguous"):
        bool(torch.rand(2, device="cuda"))


def test_an_assertion_holds() -> None:
    x = unknown()
    assert x + 1 > x, "underflow"
    assert x > 1
    assert x < 1
    assert x > 2 and x < 3  # noqa: PT018 - each half has a jump of its own
    assert not x > 1


def test_the_way_that_does_not_raise_is_taken() -> None:
    x = unknown()
    if not x > 0:
        raise ValueError(f"{x} must be positive")
    if x < 0:
        message = "negative"
        raise ValueError(message)
    if x == 0 or x > 5:
        print("out of range")
        raise ValueError


def test_a_loop_that_waits_for_a_condition_ends(gpu: VirtualGpu) -> None:
    rounds = 0
    while not unknown() < 1e-3:
        rounds += 1
    assert rounds == PATIENCE - 1
    assert any("taken the other way" in text for text in gpu.assumptions)


def test_a_step_that_is_accepted_at_last() -> None:
    """What solvers of differential equations with adaptive steps do: time stands still until a step is accepted."""
    time, end, tries = torch.zeros((), device="cuda"), torch.ones((), device="cuda"), 0
    while end > time:
        accepted = unknown() <= 1
        if accepted:
            time = time + unknown()
        tries += 1
    assert tries == PATIENCE


def test_patience_starts_again_with_each_optimizer_step() -> None:
    model = nn.Linear(4, 1).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    stopped = 0
    for _ in range(PATIENCE + 5):
        loss = model(torch.rand(4, device="cuda")).sum()
        loss.backward()
        optimizer.step()
        if loss < 1e-3:
            stopped += 1
    assert stopped == 0


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
def test_values_are_read_through_a_storage() -> None:
    x = unknown().detach()
    assert x.storage().tolist() == [1.0]
    assert x.cpu().data.storage()[0] == 1.0
    assert torch.tensor([1.0, 2.0]).cuda().storage().tolist() == [1.0, 2.0]
