from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainworthy.errors import UsageError
from trainworthy.train import schedules

STEPS = 20


def by_torch(make: Any) -> list[float]:
    """Return the factors that a scheduler of torch gives."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make(optimizer)
    factors = []
    for _ in range(STEPS):
        factors.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return factors


def factors(schedule: Any) -> list[float]:
    return [schedule(step, STEPS) for step in range(STEPS)]


@pytest.mark.parametrize(
    ("own", "torchs"),
    [
        (schedules.cosine(floor=0.1), lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, STEPS, eta_min=0.1)),
        (schedules.linear(floor=0.25), lambda o: torch.optim.lr_scheduler.LinearLR(o, 1.0, 0.25, STEPS)),
        (schedules.step(at=[5, 12], factor=0.5), lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [5, 12], 0.5)),
        (schedules.constant(warmup=4), lambda o: torch.optim.lr_scheduler.LinearLR(o, 0.25, 1.0, 3)),
        (schedules.constant(), lambda o: torch.optim.lr_scheduler.ConstantLR(o, 1.0)),
    ],
)
def test_agrees_with_torch(own: Any, torchs: Any) -> None:
    assert factors(own) == pytest.approx(by_torch(torchs))


def test_golden_wsd() -> None:
    own = schedules.wsd(warmup=2, decay=0.3, floor=0.1)
    assert [round(own(step, 10), 3) for step in range(10)] == [0.5, 1, 1, 1, 1, 1, 1, 1, 0.7, 0.4]


@given(values=st.lists(st.sampled_from([1.0, 0.9, 0.8, 0.95, 0.7]), max_size=25), patience=st.integers(1, 4))
def test_plateau_agrees_with_torch(values: list[float], patience: int) -> None:
    own = schedules.Plateau(patience=patience, factor=0.5, floor=0.1)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=patience - 1, min_lr=0.1)
    for value in values:
        own.observe(value)
        theirs.step(value)
    assert own(0, 1) == pytest.approx(optimizer.param_groups[0]["lr"])


def test_plateau_goes_on_from_its_state() -> None:
    one, other = schedules.Plateau(patience=2), schedules.Plateau(patience=2)
    one.observe(1.0)
    one.observe(1.5)
    other.load_state_dict(one.state_dict())
    for each in (one, other):
        each.observe(1.5)
    assert one == other
    assert other(0, 1) == pytest.approx(0.1)


def test_plateau_highest() -> None:
    own = schedules.plateau(patience=1, better="highest", factor=0.5)
    seen = schedules.observing(own)
    assert seen is not None
    for value in (0.5, 0.6, 0.55):
        seen.observe(value)
    assert own(3, 10) == 0.5


@given(warmup=st.integers(0, 30), steps=st.integers(1, 60))
def test_never_above_one_and_never_negative(warmup: int, steps: int) -> None:
    made = [
        schedules.cosine(warmup=warmup),
        schedules.linear(warmup=warmup),
        schedules.wsd(warmup=warmup),
        schedules.constant(warmup=warmup),
        schedules.step(at=[0.5], warmup=warmup),
    ]
    for schedule in made:
        assert all(0 <= schedule(step, steps) <= 1 for step in range(steps))


def test_refuses_nonsense() -> None:
    with pytest.raises(UsageError, match="warmup is -1"):
        schedules.cosine(warmup=-1)
    with pytest.raises(UsageError, match="rising order"):
        schedules.step(at=[5, 2])
    with pytest.raises(UsageError, match="decay is 0"):
        schedules.wsd(decay=0)


def test_a_function_of_the_step_has_no_state() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert schedules.observing(schedules.cosine()) is None
