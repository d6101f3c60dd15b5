"""Runs in closed form against clocks that are advanced operation by operation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainworthy.estimate.timeline import NOTHING, Run, kernel, on_host, sequence

times = st.integers(0, 1000)
ops = st.lists(st.tuples(times, times, times), max_size=12)  # host, delay, busy; 0 busy: the host alone


def advance(clocks: tuple[float, float], op: tuple[int, int, int]) -> tuple[float, float]:
    host, stream = clocks
    host += op[0]
    return (host, max(stream, host + op[1]) + op[2]) if op[2] else (host, stream)


def apply(run: Run, clocks: tuple[float, float]) -> tuple[float, float]:
    host, stream = clocks
    return host + run.host_s, max(stream + run.busy_s, host + run.path_s)


def as_run(op: tuple[int, int, int]) -> Run:
    return kernel(host_s=op[0], delay_s=op[1], busy_s=op[2]) if op[2] else on_host(op[0])


@given(ops, times, times)
def test_a_run_does_what_its_operations_do(each: list[tuple[int, int, int]], host: int, stream: int) -> None:
    clocks: tuple[float, float] = (host, stream)
    for op in each:
        clocks = advance(clocks, op)
    assert apply(sequence(map(as_run, each)), (host, stream)) == clocks


@given(ops, st.integers(0, 9))
def test_repetitions_in_closed_form(each: list[tuple[int, int, int]], count: int) -> None:
    run = sequence(map(as_run, each))
    assert run.times(count) == sequence([run] * count)


@given(ops, ops, ops)
def test_composition_is_associative(
    a: list[tuple[int, int, int]], b: list[tuple[int, int, int]], c: list[tuple[int, int, int]]
) -> None:
    one, two, three = (sequence(map(as_run, each)) for each in (a, b, c))
    assert one.then(two).then(three) == one.then(two.then(three))


def test_nothing_changes_nothing() -> None:
    run = kernel(host_s=2, busy_s=3, delay_s=1)
    assert NOTHING.then(run) == run == run.then(NOTHING)


@pytest.mark.parametrize(("host", "busy", "longest"), [(1, 5, 1 + 3 * 5), (5, 1, 3 * 5 + 1)])
def test_the_slower_of_host_and_device_decides(host: int, busy: int, longest: int) -> None:
    assert kernel(host_s=host, busy_s=busy).times(3).path_s == longest
