from __future__ import annotations

import pytest
import torch
from torch import nn

import trainworthy
from estimate.machines import MIB, fake_machine
from trainworthy.estimate.costs import costs_of
from trainworthy.estimate.host_costs import LOOP
from trainworthy.estimate.machine import gpu_machine
from trainworthy.estimate.tape_times import HostCode, dense_bytes, step_op_times, step_time_s
from trainworthy.hardware.calibration import Curve, HostCosts, RefillPoint, Sample
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


REFILL = (RefillPoint(1.0 * MIB, 0.0, 0.0), RefillPoint(4.0 * MIB, 2e-5, 4e-5))


def test_cold_code_is_half_any_operations_and_half_of_the_same_name() -> None:
    code = HostCode(fake_machine(refill=REFILL))
    assert code.issue("mm", 4.0 * MIB) == 0.0
    assert code.issue("add", 0.0) == pytest.approx(4e-5)  # 4 MiB since any operation, and since the beginning
    assert code.issue("mm", 0.0) == pytest.approx(2e-5)  # the same since the last product, nothing since the addition
    assert code.issue("mm", 4.0 * MIB) == 0.0


def test_a_librarys_kernel_pays_for_what_came_since_the_last_of_its_kind() -> None:
    refill = (RefillPoint(1.0 * MIB, 0.0, 0.0), RefillPoint(4.0 * MIB, 0.0, 0.0, 1e-4, 2e-4))
    code = HostCode(fake_machine(refill=refill))
    for name in ("mm", "convolution"):
        assert code.library_s(name, 1000) == 0.0
        code.issue(name, 0.0)
    code.issue("add", 4.0 * MIB)
    assert code.library_s("add", 1000) == 0.0
    assert code.library_s("addmm", 1000) == pytest.approx(1e-4)
    assert code.library_s("mm", 1000) == 0.0  # warm again
    assert code.library_s("convolution", 2 * MIB) == pytest.approx(1e-4)  # 2 MiB of its own were in its measured time


def test_a_measured_kernel_already_paid_for_what_it_drives_out_itself() -> None:
    code = HostCode(fake_machine(refill=REFILL))
    assert code.counted_s(4 * MIB) == pytest.approx(2e-5)
    assert code.counted_s(1000) == 0.0


def test_cold_code_is_the_hosts_time(tape: Tape) -> None:
    plain, cold = (fake_machine(curves=CURVES, reuse=(), refill=refill) for refill in ((), REFILL))
    host_s = [sum(op.time.host_s for op in step_op_times(tape, machine=machine)) for machine in (plain, cold)]
    assert host_s[1] > host_s[0]
    whole = step_time_s(tape, machine=cold)
    costs = costs_of(tape, machine=cold)
    counts = tape.row_counts(tape.reference_step)
    assert sum((costs[row].host_s + costs[row].device_s) * n for row, n in counts.items()) + 1e-5 == pytest.approx(
        whole
    )


def test_operations_that_cpp_issues_in_a_row_have_a_price_of_their_own() -> None:
    gru, x = nn.GRU(8, 8), torch.randn(20, 4, 8)
    with trainworthy.record() as live:
        gru(x)[0].sum().backward()
    loop = HostCosts(
        forward_op_s=1e-3, backward_op_s=1e-3, optimizer_op_s=1e-3, view_s=0.0,
        by_op={f"forward/{LOOP}": 0.0, f"backward/{LOOP}": 1e-6},
    )  # fmt: skip
    timed = step_op_times(live.tape, machine=fake_machine(curves=CURVES, host=loop))
    cells = [op for op in timed if op.signature.name == "sigmoid_"]
    assert len(cells) == 40
    assert all(op.time.host_s == 0.0 for op in cells)
    assert {op.time.host_s for op in timed if op.signature.name == "sigmoid_backward"} == {1e-6}
    assert max(op.time.host_s for op in timed) == 1e-3  # the sum is called from Python
