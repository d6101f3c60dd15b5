"""How many epochs a loop has, read from the lines around it, and where a schedule ends."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainworthy.check.finding import Place
from trainworthy.check.live.plans import epochs_around, zero_from
from trainworthy.check.live.watch import Watch
from trainworthy.tape.source import SourceFinder

LOOPS = {
    "for epoch in range(7):\n    look()": 7,
    "n = 5\nfor epoch in range(1, n + 1):\n    look()": 5,
    "class A: pass\nargs = A()\nargs.epochs = 4\nfor epoch in range(args.epochs):\n    look()": 4,
    "def train():\n    look()\nfor epoch in range(3):\n    train()": 3,
    "for epoch in range(6):\n    for batch in [1]:\n        look()\n        break": 6,
    "for fold in range(9):\n    for epoch in range(2):\n        look()": 2,
    "for epoch in [1, 2]:\n    look()": None,
    "look()": None,
    "for epoch in range(int('3')):\n    look()": None,
    "for epoch in range(3):\n    f = lambda: look()\n    f()": 3,
}


@pytest.mark.parametrize("source", LOOPS, ids=range(len(LOOPS)))
def test_epochs_are_those_of_the_loop_around(source: str, tmp_path: Path) -> None:
    watch = Watch(SourceFinder((str(tmp_path),)), Place("?", 1))
    seen: list[Any] = []

    def look() -> None:
        found = epochs_around(watch, sys._getframe(1))
        seen.append(found[0] if found else None)

    path = tmp_path / "train.py"
    path.write_text(source, encoding="utf-8")
    exec(compile(source, str(path), "exec"), {"look": look})
    assert set(seen) == {LOOPS[source]}


@given(st.integers(1, 40), st.integers(1, 80))
def test_a_linear_schedule_ends_where_it_was_told(total: int, planned: int) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: max(0.0, 1 - n / total))
    assert zero_from(scheduler, planned) == (total if total < planned else None)


def test_a_schedule_that_rises_again_has_no_end() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    assert zero_from(torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: float(n % 5 > 0)), 20) is None
    assert zero_from(torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: 0.0), 20) is None
