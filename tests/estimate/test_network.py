from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainworthy.estimate.network import Topology, collective_s, message_s
from trainworthy.formulas.collectives import Kind

A100 = Topology(domain=8, inside_gb_per_s=300, between_gb_per_s=25)
V100 = Topology(domain=8, inside_gb_per_s=150, between_gb_per_s=6.25, switched=False)
KINDS: tuple[Kind, ...] = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast", "send_recv")


# All-reduce of 1 GiB as vTrain measured it with nccl-tests (VIA-Research/vTrain, NCCL look-up tables).
@pytest.mark.parametrize(
    ("topology", "ranks", "measured_us"),
    [(A100, 2, 5442.8), (A100, 4, 7259.4), (A100, 8, 8193), (V100, 2, 47610), (V100, 4, 18869), (V100, 8, 13969)],
)
def test_measured_all_reduce(topology: Topology, ranks: int, measured_us: float) -> None:
    predicted = collective_s(kind="all_reduce", payload_bytes=2**30, ranks=ranks, topology=topology)
    assert predicted * 1e6 == pytest.approx(measured_us, rel=0.06)


@pytest.mark.parametrize("kind", KINDS)
def test_one_rank_and_no_bytes_take_no_time(kind: Kind) -> None:
    assert collective_s(kind=kind, payload_bytes=10, ranks=1, topology=A100) == 0
    assert collective_s(kind=kind, payload_bytes=0, ranks=8, topology=A100) == 0


@given(
    kind=st.sampled_from(KINDS), payload=st.floats(1, 1e12), ranks=st.integers(2, 4096),
    stride=st.sampled_from([1, 2, 8]),
)  # fmt: skip
def test_more_bytes_never_take_less_time(kind: Kind, payload: float, ranks: int, stride: int) -> None:
    one = collective_s(kind=kind, payload_bytes=payload, ranks=ranks, topology=A100, stride=stride)
    two = collective_s(kind=kind, payload_bytes=2 * payload, ranks=ranks, topology=A100, stride=stride)
    assert 0 < one < two


@given(payload=st.floats(1e9, 1e12), ranks=st.sampled_from([16, 64, 256]))
def test_leaving_the_node_is_slower_and_ports_add_up(payload: float, ranks: int) -> None:
    one_node = Topology(domain=ranks, inside_gb_per_s=300, between_gb_per_s=25)
    times = [
        collective_s(kind="all_gather", payload_bytes=payload, ranks=ranks, topology=topology, stride=stride)
        for topology, stride in ((one_node, 1), (A100, 1), (A100, 8))
    ]
    assert times == sorted(times)


def test_a_ring_through_pcie_is_slower_than_nvlink_and_faster_than_the_network() -> None:
    halves = Topology(domain=4, inside_gb_per_s=300, between_gb_per_s=6.25, node=8)
    one, two, three = (
        collective_s(kind="all_reduce", payload_bytes=1e9, ranks=ranks, topology=halves) for ranks in (4, 8, 16)
    )
    assert one < two < three


def test_a_message_inside_a_node_is_faster() -> None:
    near, far = (message_s(payload_bytes=1e8, topology=A100, stride=stride) for stride in (1, 8))
    assert near < far == pytest.approx(1e8 / (25e9 * 0.85) + 27e-6, rel=1e-3)
