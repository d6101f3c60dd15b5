"""What would help on a CPU; what does on GPUs is held in tests of the changes and of whole estimates."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import trainworthy
from estimate.machines import fake_machine
from estimate.test_tape_times import CURVES
from trainworthy.estimate.machine import Machine
from trainworthy.estimate.tape_times import step_time_s
from trainworthy.estimate.what_ifs import KEPT_HEAP, what_would_help
from trainworthy.estimate.whole import Question, estimate_tapes
from trainworthy.tape.record import Tape


@pytest.fixture(scope="module")
def tape() -> Tape:
    """Steps whose activations are fresh memory in every one of them: they are large, and the heap gives them back."""
    model = nn.Sequential(nn.Linear(64, 2000), nn.ReLU(), nn.Linear(2000, 2000), nn.ReLU(), nn.Linear(2000, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.randn(2000, 64)
    with trainworthy.record() as live:
        for _ in range(3):
            optimizer.zero_grad()
            model(x).mean().backward()
            optimizer.step()
    return live.tape


def helps(tape: Tape, machine: Machine) -> dict[str, tuple[float, str]]:
    question = Question(tapes={0: tape}, machine=machine)
    return {each.name: (each.step_s, each.how) for each in what_would_help(question, estimate_tapes(question))}


def linux(**fields: object) -> Machine:
    return fake_machine(curves=CURVES, versions={"system": "linux"}, **fields)


def test_a_heap_that_is_kept_saves_the_page_faults(tape: Tape) -> None:
    machine = linux()
    step_s, how = helps(tape, machine)["kept_heap"]
    assert KEPT_HEAP in how
    without = replace(machine, calibration=replace(machine.calibration, page_fault_s_per_byte=0.0))  # type: ignore[type-var]
    assert step_s == pytest.approx(step_time_s(tape, machine=without), rel=1e-3)
    assert step_s < 0.99 * step_time_s(tape, machine=machine)


def test_nothing_is_said_of_other_systems_and_of_faults_that_nobody_measured(tape: Tape) -> None:
    assert "kept_heap" not in helps(tape, fake_machine(curves=CURVES, versions={"system": "windows"}))
    assert "kept_heap" not in helps(tape, linux(page_fault_s_per_byte=None))
