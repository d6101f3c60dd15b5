"""Timelines small enough to be drawn by hand."""

from __future__ import annotations

import pytest

from trainworthy.estimate.program import Call, Instruction, Loop, Numbers, Plain, Sync, Wait
from trainworthy.estimate.simulate import Loading, simulate, simulate_ranks
from trainworthy.estimate.timeline import kernel, on_host
from trainworthy.tape.record import PHASES

FORWARD, BACKWARD = PHASES.index("forward"), PHASES.index("backward")


def op(host: float, busy: float, phase: int = FORWARD) -> Plain:
    return Plain(kernel(host_s=host, busy_s=busy), phase)


def call(
    seconds: float, result: int, *, kind: str = "all_reduce", is_async: bool = True, group: int = 0,
    peer: int | None = None, row: int = 7, growth: tuple[tuple[int, ...], ...] = (),
) -> Call:  # fmt: skip
    return Call(row=row, kind=kind, group=group, peer=peer, seconds=seconds, host_s=0.0, is_async=is_async,
                results=Numbers((result,), growth), phase=BACKWARD)  # fmt: skip


def wait(number: int, growth: tuple[tuple[int, ...], ...] = ()) -> Wait:
    return Wait(Numbers((number,), growth), 0.0, BACKWARD)


def test_the_device_decides_when_it_is_slower() -> None:
    times = simulate([op(1, 5), op(1, 5), op(1, 5)])
    assert (times.step_s, times.latency_s, times.host_s) == (15, 16, 3)
    assert times.is_steady
    assert times.stalls_s == {}


def test_the_host_decides_when_it_is_slower() -> None:
    times = simulate([op(5, 1), op(5, 1), op(5, 1)])
    assert times.step_s == 15
    assert times.stalled_s("host") == 12


def test_a_host_sync_puts_host_and_device_one_after_the_other() -> None:
    # host 0-1, kernel 1-6, the value is there at 6; host 6-7, kernel 7-12.
    times = simulate([op(1, 5), Sync(0.0, FORWARD)])
    assert times.step_s == 6
    assert times.stalls_s == {("host", "forward"): 1}


def test_a_collective_beside_computation_is_hidden() -> None:
    times = simulate([op(0, 10), call(4, 1), op(0, 10), wait(1)])
    assert (times.step_s, times.stalled_s("network")) == (20, 0)


def test_what_is_not_hidden_is_exposed() -> None:
    times = simulate([op(0, 10), call(4, 1), op(0, 3), wait(1)])
    assert times.step_s == 14
    assert times.stalls_s == {("network", "backward"): 1}
    assert times.exposed_s == {7: 1}


def test_a_synchronous_collective_holds_the_device_but_not_the_host() -> None:
    times = simulate([op(1, 10), call(4, 1, is_async=False), op(1, 2)])
    assert (times.step_s, times.stalled_s("network"), times.stalled_s("host")) == (16, 4, 0)


def test_collectives_of_one_group_queue_and_of_two_groups_do_not() -> None:
    one: list[Instruction] = [op(0, 1), call(4, 1), call(4, 2), wait(1), wait(2)]
    two: list[Instruction] = [op(0, 1), call(4, 1), call(4, 2, group=1), wait(1), wait(2)]
    assert simulate(one).step_s == 9
    assert simulate(two).step_s == 5


def test_storage_numbers_grow_in_loops() -> None:
    # Each repetition waits for what the one before asked for: a gather of 3 beside a kernel of 10.
    grows = ((1,),)
    loop = Loop(4, (call(3, 11, growth=grows), wait(10, grows), op(0, 10)))
    times = simulate([call(3, 10), loop, wait(14)])
    assert times.step_s == 3 + 4 * 10
    assert times.stalled_s("network") == 3


def test_loops_in_loops() -> None:
    inner = Loop(3, (call(1, 0, growth=((30,), (10,))), op(0, 2), wait(0, ((30,), (10,)))))
    assert simulate([Loop(2, (inner,))]).step_s == 2 * 3 * 2


@pytest.mark.parametrize(("workers", "expected"), [(0, 12 + 4), (1, 12), (2, 6), (4, 4)])
def test_batches_come_as_fast_as_they_are_loaded(workers: int, expected: float) -> None:
    times = simulate([op(0, 4), Sync(0.0, FORWARD)], loading=Loading(12.0, workers))
    assert times.step_s == expected


def test_on_a_cpu_everything_adds_up() -> None:
    program: list[Instruction] = [Plain(on_host(3.0), FORWARD), call(2, 1), wait(1), Plain(on_host(4.0), BACKWARD)]
    times = simulate(program, in_order=True)
    assert times.step_s == 9
    assert times.stalled_s("network") == 2


def test_a_step_of_the_host_alone() -> None:
    assert simulate([Plain(on_host(3.0), FORWARD)]).step_s == 3


def test_nothing_takes_no_time() -> None:
    assert simulate([]).step_s == 0


# --- messages -----------------------------------------------------------------------------------------------------


def stage(rank: int, *, forward: float, backward: float, message: float) -> list[Instruction]:
    """One micro-batch through two stages and back."""
    if rank == 0:
        return [
            op(0, forward), call(message, 1, kind="send", peer=1), wait(1),
            call(message, 2, kind="recv", peer=1), wait(2), op(0, backward, BACKWARD),
        ]  # fmt: skip
    return [
        call(message, 1, kind="recv", peer=0), wait(1), op(0, forward), op(0, backward, BACKWARD),
        call(message, 2, kind="send", peer=0), wait(2),
    ]  # fmt: skip


def test_a_pipeline_of_two_stages_without_micro_batches_runs_one_after_the_other() -> None:
    found = simulate_ranks({rank: stage(rank, forward=1, backward=2, message=0.5) for rank in (0, 1)})
    assert found[0].step_s == found[1].step_s == 1 + 0.5 + 1 + 2 + 0.5 + 2
    assert found[0].stalled_s("bubble") == 1 + 2
    assert found[0].stalled_s("network") == 0.5 + 0.5
    assert found[1].stalled_s("bubble") == 2 + 1


def test_a_peer_that_is_not_simulated_holds_nobody() -> None:
    found = simulate_ranks({1: stage(1, forward=1, backward=2, message=0.5)})
    assert found[1].step_s == 0.5 + 3 + 0.5


def test_a_peer_may_stand_for_others() -> None:
    programs = {rank: stage(rank, forward=1, backward=2, message=0.5) for rank in (0, 1)}
    programs[0] = [i._replace(peer=5) if isinstance(i, Call) else i for i in programs[0]]
    found = simulate_ranks(programs, stands_for=lambda rank: 1 if rank == 5 else rank)
    assert found[0].step_s == 7


def test_ranks_that_wait_for_each_other_for_ever_are_let_go() -> None:
    both: list[Instruction] = [call(1, 1, kind="recv", peer=1), wait(1), op(0, 1)]
    other: list[Instruction] = [call(1, 1, kind="recv", peer=0), wait(1), op(0, 1)]
    assert simulate_ranks({0: both, 1: other})[0].step_s == 2
