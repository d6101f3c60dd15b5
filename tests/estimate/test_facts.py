"""Memory, energy, links, workloads, amounts: small pieces by hand."""

from __future__ import annotations

from typing import Any

import pytest

from estimate.hand_made import H100
from report.tape_builder import TapeBuilder
from trainworthy.errors import UnknownLinkError, UsageError
from trainworthy.estimate.amounts import Amounts, check_amounts
from trainworthy.estimate.energy import gpu_power_w, kwh, money
from trainworthy.estimate.memory_facts import GIB, MemoryFacts, fits_in, needed_memory
from trainworthy.estimate.quantity import Quantity, exactly, largest, maybe_product, maybe_ratio, total
from trainworthy.estimate.result import BoundBy
from trainworthy.estimate.simulate import Loading
from trainworthy.estimate.topology import Topology, make_topology
from trainworthy.estimate.totals import run_totals
from trainworthy.estimate.workload import Workload, workload_of
from trainworthy.tape.record import Collective, CollectiveKind, Tape


def test_quantities() -> None:
    one, two = Quantity(1, 2, 3), Quantity(2, 2, 8)
    assert one.plus(two) == (3, 4, 11)
    assert one.times(2) == (2, 4, 6)
    assert one.per(6) == (2, 3, 6)
    assert largest(one, two) == (2, 2, 8)
    assert total([one, two, exactly(1)]) == (4, 5, 12)
    assert one.widened(low=0.5, high=2) == (0.5, 2, 6)
    assert maybe_product(None, 2) is None
    assert maybe_ratio(6, one) == (2, 3, 6)
    assert maybe_ratio(6, Quantity(0, 1, 2)) is None
    with pytest.raises(ValueError, match="not negative"):
        one.times(-1)


# --- memory, energy -----------------------------------------------------------------------------------------------


def test_memory_needed_on_a_card() -> None:
    gpu = H100.gpu
    assert gpu is not None
    alone = needed_memory(MemoryFacts(9 * GIB, 10 * GIB, 11 * GIB), gpu=gpu, world_size=1)
    assert alone.kind == "reserved"
    assert alone.peak == pytest.approx((10 * GIB, 11 * GIB, 12.1 * GIB))
    assert alone.needed.expected == 11 * GIB + gpu.context_bytes
    together = needed_memory(MemoryFacts(9 * GIB, 10 * GIB, 11 * GIB), gpu=gpu, world_size=8)
    assert together.needed.expected == alone.needed.expected + GIB
    fused = needed_memory(MemoryFacts(9 * GIB, 10 * GIB, 11 * GIB, 7 * GIB), gpu=gpu, world_size=1)
    assert fused.peak.low == 7 * GIB


def test_without_a_limit_nothing_is_sure() -> None:
    assert fits_in(exactly(1), None) == "unsure"


def test_power_lies_between_idle_and_the_limit() -> None:
    busy = BoundBy(compute=1, memory=0, latency=0, host=0, network=0, bubble=0)
    idle = BoundBy(compute=0, memory=0, latency=0, host=1, network=0, bubble=0)
    high, low = gpu_power_w(busy, limit_w=700), gpu_power_w(idle, limit_w=700)
    assert high is not None
    assert low is not None
    assert high.high == 700
    assert low.high < high.low
    assert gpu_power_w(busy, limit_w=None) is None
    assert kwh(None, exactly(1), gpus=1) is None
    assert money(exactly(3600), price_per_hour=2.5, gpus=8) == exactly(20)
    assert money(exactly(3600), price_per_hour=None, gpus=8) is None


# --- links --------------------------------------------------------------------------------------------------------


def call(kind: CollectiveKind, size: int, *, out: int | None = None, peer: int | None = None) -> Collective:
    return Collective(kind, 0, size, size if out is None else out, "float32", "sum", peer)


def cluster(**options: Any) -> Topology:
    return make_topology(H100.gpu, gpus_per_node=8, world_size=64, **options)


def test_an_all_reduce_inside_a_node_by_hand() -> None:
    seconds = cluster().seconds(call("all_reduce", 10**9), range(8), rank=0)
    # 2 x 7/8 of the bytes at NVLink's bus bandwidth, 14 steps of 3.4 us and 8.4 us once.
    assert seconds == pytest.approx(1.75e9 / 370.8e9 + 14 * 3.4e-6 + 8.4e-6)


def test_between_nodes_the_network_decides() -> None:
    inside = cluster().seconds(call("all_reduce", 10**9), range(8), rank=0)
    one_a_node = cluster().seconds(call("all_reduce", 10**9), range(0, 64, 8), rank=0)
    everyone = cluster().seconds(call("all_reduce", 10**9), range(64), rank=0)
    assert inside < everyone < one_a_node
    assert one_a_node == pytest.approx(1.75e9 / (50e9 * 0.85), rel=0.02)


def test_messages_and_other_kinds() -> None:
    links = cluster()
    near = links.seconds(call("send", 10**8, peer=1), range(64), rank=0)
    far = links.seconds(call("send", 10**8, peer=9), range(64), rank=0)
    assert near < far
    assert links.seconds(call("barrier", 0), range(64), rank=0) > 0
    assert links.seconds(call("all_reduce", 10**9), [3], rank=3) == 0
    gathered = links.seconds(call("all_gather", 10**8, out=8 * 10**8), range(8), rank=0)
    scattered = links.seconds(call("reduce_scatter", 8 * 10**8, out=10**8), range(8), rank=0)
    assert gathered == pytest.approx(scattered)


def test_a_faster_network_is_never_slower() -> None:
    for kind in ("all_reduce", "all_gather", "broadcast"):
        times = [
            cluster(network_gbit_per_s=rate).seconds(call(kind, 10**8, out=10**8), range(64), rank=0)
            for rate in (10, 100, 400, 3200)
        ]
        assert times == sorted(times, reverse=True)


def test_links_that_make_no_sense() -> None:
    with pytest.raises(UsageError, match="Gbit/s"):
        cluster(network_gbit_per_s=0)
    with pytest.raises(UnknownLinkError):
        cluster(link="nvlink99")


# --- workload -----------------------------------------------------------------------------------------------------


def noted(**notes: Any) -> Tape:
    tape = TapeBuilder()
    tape.op("relu")
    return tape.build(**notes)


GPT = [{"step": 1, "module": "GPT", "tensors": [["int64", (8, 1024)], ["int64", (8, 1024)]], "forwards": 4}]


def test_samples_and_tokens_of_the_inputs() -> None:
    found = workload_of(noted(step_inputs=GPT, steps=1), step=1)
    assert (found.samples, found.tokens, found.loading) == (32, 32 * 1024, None)


def test_samples_of_the_loader_and_its_time() -> None:
    loading = [{"workers": 2, "batch_size": 16, "batches": 5, "seconds": [9.0, 0.2, 0.4], "dataset_size": 100}]
    found = workload_of(noted(loading=loading, steps=2), step=1)
    # Five batches in two steps: two a step, one was fetched ahead. The first opens files and is not counted.
    assert (found.samples, found.dataset_size) == (32, 100)
    assert found.loading is not None
    assert found.loading.workers == 2
    assert found.loading.step_s == pytest.approx(2 * 0.3)


def test_what_the_user_says_goes_first() -> None:
    found = workload_of(noted(step_inputs=GPT), step=1, samples=7, tokens=9, data_s_per_batch=0.5, workers=3)
    assert (found.samples, found.tokens, found.loading) == (7, 9, Loading(0.5, 3))


def test_replicas_multiply_and_without_them_nothing_is_known() -> None:
    known = workload_of(noted(step_inputs=GPT, data_parallel=[[0, 2], [1, 3]]), step=1, world_size=4)
    unknown = workload_of(noted(step_inputs=GPT), step=1, world_size=4)
    assert (known.samples, known.tokens) == (64, 64 * 1024)
    assert (unknown.samples, unknown.tokens) == (None, None)
    assert "--samples-per-step" in unknown.assumptions[0]


def test_nothing_noted_is_nothing_known() -> None:
    found = workload_of(noted(), step=1)
    assert (found.samples, found.tokens, found.loading, found.dataset_size) == (None, None, None, None)


# --- amounts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [{"train_tokens": -1}, {"train_tokens": 1e30}, {"epochs": 0}, {"price_per_hour": -0.1}, {"workers": -2},
     {"samples_per_step": 0}],
)  # fmt: skip
def test_amounts_that_cannot_be(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError) as error:
        check_amounts(Amounts(**wrong))  # type: ignore[arg-type]
    assert error.value.where is not None
    assert error.value.where.startswith("--")


def test_totals_of_a_training() -> None:
    step, power = Quantity(1, 2, 4), exactly(500.0)
    load = Workload(samples=32, tokens=1000, dataset_size=320)
    found = run_totals(Amounts(train_tokens=1e6, price_per_hour=36), power, step, load, gpus=2)
    assert found is not None
    assert found.steps == 1000
    assert found.seconds == Quantity(1000, 2000, 4000)
    assert found.money == Quantity(20, 40, 80)
    for amounts, steps in ((Amounts(epochs=3), 30), (Amounts(train_samples=64), 2), (Amounts(train_steps=5), 5)):
        found = run_totals(amounts, power, step, load, gpus=1)
        assert found is not None
        assert found.steps == steps
    assert run_totals(Amounts(train_tokens=1e6), power, step, Workload(), gpus=1) is None
