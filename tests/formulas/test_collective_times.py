from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainworthy.errors import FormulaError
from trainworthy.formulas.collective_times import (
    bus_bandwidth_factor,
    bus_gb_per_s,
    collective_steps,
    collective_time_s,
    hierarchical_time_s,
)
from trainworthy.formulas.collectives import KINDS, Kind, ring_bytes_sent

sizes = st.integers(1, 10**12)
rates = st.floats(0.1, 1e4)


@given(st.sampled_from(KINDS), sizes, st.integers(2, 2000), rates)
def test_time_and_bus_bandwidth_are_inverse(kind: Kind, payload: int, ranks: int, rate: float) -> None:
    time_s = collective_time_s(kind=kind, payload_bytes=payload, ranks=ranks, bus_gb_per_s=rate)
    measured = bus_gb_per_s(kind=kind, payload_bytes=payload, ranks=ranks, time_s=time_s)
    assert measured == pytest.approx(rate)


@given(st.sampled_from([kind for kind in KINDS if kind != "gather"]), st.integers(0, 10**6), st.integers(2, 300))
def test_the_factor_is_what_the_busiest_rank_sends(kind: Kind, piece: int, ranks: int) -> None:
    sent = ring_bytes_sent(kind=kind, payload_bytes=piece * ranks, ranks=ranks)
    assert sent == pytest.approx(bus_bandwidth_factor(kind=kind, ranks=ranks) * piece * ranks)


@given(sizes, st.integers(2, 64), rates, st.integers(1, 5))
def test_time_grows_with_bytes_and_falls_with_bandwidth(payload: int, ranks: int, rate: float, more: int) -> None:
    call: dict[str, Any] = {"kind": "all_reduce", "ranks": ranks, "base_latency_s": 1e-5, "step_latency_s": 1e-6}
    time_s = collective_time_s(payload_bytes=payload, bus_gb_per_s=rate, **call)
    assert collective_time_s(payload_bytes=payload * (1 + more), bus_gb_per_s=rate, **call) > time_s
    assert collective_time_s(payload_bytes=payload, bus_gb_per_s=rate * (1 + more), **call) < time_s


def test_a_tree_wins_on_small_messages_over_many_ranks() -> None:
    def time_s(payload: int, algorithm: Any) -> float:
        return collective_time_s(
            kind="all_reduce", payload_bytes=payload, ranks=512, bus_gb_per_s=50, algorithm=algorithm,
            base_latency_s=8.4e-6, step_latency_s=14e-6,
        )  # fmt: skip

    assert time_s(1 << 20, "tree") < time_s(1 << 20, "ring")
    # 18 steps for 1022: 1004 latencies less; the bandwidth term is 2 S for 2 (511/512) S.
    difference = time_s(1 << 20, "ring") - time_s(1 << 20, "tree")
    assert difference == pytest.approx(1004 * 14e-6 - 2 * 2**20 / 512 / 50e9)


def test_golden_of_nccl_steps_and_a_measured_node() -> None:
    assert [collective_steps(kind=kind, ranks=8) for kind in KINDS] == [14, 7, 7, 7, 7, 7, 7, 7, 1]
    assert [collective_steps(kind="all_reduce", ranks=n, algorithm="tree") for n in (2, 8, 9)] == [2, 6, 8]
    # 8 x A100: 229 GB/s at 1 GiB, that is 8.2 ms (published measurements of vTrain).
    time_s = collective_time_s(kind="all_reduce", payload_bytes=2**30, ranks=8, bus_gb_per_s=229)
    assert time_s == pytest.approx(8.205e-3, rel=1e-3)


@given(st.integers(1, 10**9), st.integers(1, 16), rates)
def test_one_level_is_a_plain_ring(piece: int, ranks: int, rate: float) -> None:
    payload = piece * ranks
    plain = collective_time_s(
        kind="all_reduce",
        payload_bytes=payload,
        ranks=ranks,
        bus_gb_per_s=rate,
        base_latency_s=1e-5,
        step_latency_s=1e-6,
    )
    inside = hierarchical_time_s(
        kind="all_reduce", payload_bytes=payload, ranks_per_node=ranks, nodes=1, inside_gb_per_s=rate,
        between_gb_per_s=1.0, base_latency_s=1e-5, inside_step_latency_s=1e-6, between_step_latency_s=1.0,
    )  # fmt: skip
    between = hierarchical_time_s(
        kind="all_reduce", payload_bytes=payload, ranks_per_node=1, nodes=ranks, inside_gb_per_s=1.0,
        between_gb_per_s=rate, base_latency_s=1e-5, inside_step_latency_s=1.0, between_step_latency_s=1e-6,
    )  # fmt: skip
    assert inside == pytest.approx(plain)
    assert between == pytest.approx(plain)


def test_one_rank_takes_no_time() -> None:
    call: dict[str, Any] = {"kind": "all_reduce", "payload_bytes": 10**9}
    assert collective_time_s(**call, ranks=1, bus_gb_per_s=1.0, base_latency_s=1.0, step_latency_s=1.0) == 0
    levels: dict[str, Any] = {"ranks_per_node": 1, "nodes": 1}
    rates: dict[str, Any] = {"inside_gb_per_s": 1.0, "between_gb_per_s": 1.0, "base_latency_s": 1.0}
    assert hierarchical_time_s(**call, **levels, **rates) == 0


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"bus_gb_per_s": 0.0}, "bus_gb_per_s is 0.0"), ({"bus_gb_per_s": float("inf")}, "bus_gb_per_s is inf"),
        ({"base_latency_s": -1.0}, "base_latency_s is -1.0"),
        ({"step_latency_s": float("nan")}, "step_latency_s is nan"),
        ({"algorithm": "star"}, "algorithm is 'star'"), ({"kind": "scatter", "algorithm": "tree"}, "kind is 'scatter'"),
        ({"payload_bytes": -1}, "payload_bytes is -1"),
    ],
)  # fmt: skip
def test_nonsense_is_refused(changed: dict[str, Any], message: str) -> None:
    call: dict[str, Any] = {"kind": "all_reduce", "payload_bytes": 8, "ranks": 8, "bus_gb_per_s": 1.0, **changed}
    with pytest.raises(FormulaError, match=message):
        collective_time_s(**call)
    with pytest.raises(FormulaError, match="time_s is 0"):
        bus_gb_per_s(kind="all_reduce", payload_bytes=8, ranks=8, time_s=0)
