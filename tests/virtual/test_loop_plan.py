"""How often loops will turn, read while they do."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from trainworthy.virtual.loop_plan import LoopPlan, plan_of

LOADER = DataLoader(TensorDataset(torch.zeros(20, 1)), batch_size=4)
OPTIONS = SimpleNamespace(epochs=7, dry_run=False, stop_early=True)
ACCUMULATE = 2


def here() -> LoopPlan | None:
    """Plan the loops of the function that calls this."""
    return plan_of(sys._getframe(1), lambda code: code.co_filename == __file__ and code.co_name in NAMES)


def plain() -> Any:
    for _epoch in range(3):
        for _batch in LOADER:
            return here()
    return None


def nested_call() -> Any:
    def one_epoch() -> Any:
        for i, _batch in enumerate(LOADER, start=1):
            if i % ACCUMULATE == 0:
                found.append(here())

    found: list[Any] = []
    for _epoch in range(1, OPTIONS.epochs + 1):
        one_epoch()
    return found[0]


def only_steps() -> Any:
    found: list[Any] = []
    for _step in range(10 * 2 - 5):
        found.append(here())
    return found[0]


def known_to_go_on() -> Any:
    found: list[Any] = []
    for _epoch in range(2):
        for _batch in LOADER:
            found.append(here())
            if OPTIONS.dry_run:
                break
    return found[0]


def may_stop() -> Any:
    found: list[Any] = []
    for _epoch in range(2):
        found.append(here())
        if OPTIONS.stop_early:
            break
    return found[0]


def unknown_length() -> Any:
    found: list[Any] = []
    for _batch in iter([1, 2]):
        found.append(here())
    return found[0]


def loops_while() -> Any:
    found: list[Any] = []
    while not found:
        found.append(here())
    return found[0]


CASES = {
    # `plain` leaves by a return, so how often it turns is not sure.
    plain: None,
    nested_call: LoopPlan(7, 5),
    only_steps: LoopPlan(15, None),
    known_to_go_on: LoopPlan(2, 5),
    may_stop: None,
    unknown_length: None,
    loops_while: None,
}
NAMES = {function.__name__ for function in CASES} | {"one_epoch"}


@pytest.mark.parametrize("function", CASES, ids=lambda function: function.__name__)
def test_plans(function: Any) -> None:
    assert function() == CASES[function]
