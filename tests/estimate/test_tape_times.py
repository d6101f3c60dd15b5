from __future__ import annotations

import pytest
import torch
from torch import nn

import trainworthy
from estimate.machines import fake_machine
from trainworthy.estimate.machine import gpu_machine
from trainworthy.estimate.tape_times import dense_bytes, step_op_times, step_time_s
from trainworthy.hardware.calibration import Curve, Sample
from trainworthy.tape.record import Tape, TensorMeta

CURVES = {"add:plain/fp32": Curve(samples=(Sample((1.0,), 1e-6), Sample((30.0,), 1e-6)), length_scales=(1.0,))}


@pytest.fixture(scope="module")
def tape() -> Tape:
    model = nn.Sequential(nn.Linear(600, 600), nn.ReLU(), nn.Linear(600, 10))
    optimizer = torch.optim.AdamW(model.parameters())
    x, y = torch.randn(8, 600), torch.randint(10, (8,))
    with trainworthy.record() as live:
        for _ in range(3):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    return live.tape


def test_operations_come_in_the_order_they_ran(tape: Tape) -> None:
    timed = step_op_times(tape, machine=fake_machine(curves=CURVES))
    ran = [op.name for op in tape.ops if op.step == tape.reference_step]
    assert [op.signature.name for op in timed] == ran
    phases = [op.phase for op in timed]
    assert phases.index("backward") > phases.index("forward")


def test_a_step_is_the_sum_of_its_operations_and_what_it_costs_once(tape: Tape) -> None:
    machine = fake_machine(curves=CURVES)
    timed = step_op_times(tape, machine=machine)
    expected = sum(op.time.device_s + op.time.host_s for op in timed) + 1e-5
    assert step_time_s(tape, machine=machine) == pytest.approx(expected)


def test_fresh_memory_and_distant_data_take_time(tape: Tape) -> None:
    costly = fake_machine(curves=CURVES, page_fault_s_per_byte=1e-6)
    free = fake_machine(curves=CURVES, page_fault_s_per_byte=0.0, reuse=())
    assert all(op.time.stall_s == 0 for op in step_op_times(tape, machine=free))
    assert step_time_s(tape, machine=costly) > step_time_s(tape, machine=free)


def test_the_first_step_has_more_fresh_memory_than_the_last(tape: Tape) -> None:
    machine = fake_machine(curves=CURVES, reuse=(), page_fault_s_per_byte=1e-9)
    stalls = [sum(op.time.stall_s for op in step_op_times(tape, machine=machine, step=step)) for step in (1, 2)]
    assert stalls[0] > stalls[1]


def test_on_a_gpu_nothing_stalls(tape: Tape) -> None:
    assert all(op.time.stall_s == 0 for op in step_op_times(tape, machine=gpu_machine("h100-sxm-80gb")))


def test_repeated_dimensions_count_once() -> None:
    assert dense_bytes(TensorMeta((4, 8), (0, 1), "bfloat16", "cpu")) == 16
