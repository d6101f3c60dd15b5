"""Folded and unfolded tapes take the same time; more of a resource never slows a step down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estimate.hand_made import H100, chain, faster_memory, faster_products
from report import cluster_tapes
from report.tape_builder import small_training, unfolded
from trainworthy.estimate.costs import Factors, costs_of
from trainworthy.estimate.fusion import compiled
from trainworthy.estimate.steps import Setting, Simulated, run_steps, step_of
from trainworthy.estimate.topology import make_topology
from trainworthy.tape.record import PHASES, Row, Tape

TAPES: dict[str, Callable[[], Tape]] = {
    "chain": lambda: chain(layers=6),
    "training": lambda: small_training(layers=5),
    "ddp": lambda: cluster_tapes.ddp(1, layers=6),
    "fsdp": lambda: cluster_tapes.fsdp(1, layers=6),
    "stage": lambda: cluster_tapes.pipeline(1, micro_batches=6),
}
CLUSTER = make_topology(H100.gpu, gpus_per_node=8, world_size=64)


def times_of(tape: Tape, setting: Setting | None = None, factors: Factors | None = None) -> Simulated:
    setting = setting or Setting(machine=H100, topology=CLUSTER)
    return run_steps({0: tape}, setting, factors=factors or Factors())


@pytest.mark.parametrize("name", TAPES)
@pytest.mark.parametrize("mode", ["eager", "compiled"])
def test_folding_changes_nothing(name: str, mode: str) -> None:
    tape = TAPES[name]()
    tape = compiled(tape) if mode == "compiled" else tape
    one, other = times_of(tape), times_of(unfolded(tape))
    assert one.step_s == pytest.approx(other.step_s, rel=1e-9)
    assert one.latency_s == pytest.approx(other.latency_s, rel=1e-9)
    assert one.ranks[0].times.exposed_s == pytest.approx(other.ranks[0].times.exposed_s, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", TAPES)
def test_a_step_is_never_shorter_than_what_any_resource_is_busy(name: str) -> None:
    found = times_of(TAPES[name]())
    rank = found.ranks[0]
    collectives: dict[int, float] = {}
    for row, count in rank.tape.row_counts(rank.step).items():
        call = rank.tape.signatures[rank.tape.rows[row].signature].collective
        if call is not None:
            collectives[call.group] = collectives.get(call.group, 0.0) + count * rank.costs[row].network_s
    assert found.step_s >= rank.busy_s * (1 - 1e-9)
    assert found.latency_s >= rank.busy_s * (1 - 1e-9)
    assert all(found.step_s >= seconds * (1 - 1e-9) for seconds in collectives.values())


@pytest.mark.parametrize("name", TAPES)
@given(factor=st.floats(1, 20))
def test_more_bandwidth_never_slows_a_step(name: str, factor: float) -> None:
    tape = _TAPES[name]
    base = times_of(tape).step_s
    faster_network = make_topology(H100.gpu, gpus_per_node=8, world_size=64, network_gbit_per_s=400 * factor)
    for setting in (
        Setting(machine=faster_memory(factor), topology=CLUSTER),
        Setting(machine=faster_products(factor), topology=CLUSTER),
        Setting(machine=H100, topology=faster_network),
    ):
        assert times_of(tape, setting).step_s <= base * (1 + 1e-9)


_TAPES = {name: make() for name, make in TAPES.items()}


@pytest.mark.parametrize("name", TAPES)
@given(device=st.floats(0.1, 1), host=st.floats(0.1, 1), network=st.floats(0.1, 1))
def test_shorter_operations_never_make_a_longer_step(name: str, device: float, host: float, network: float) -> None:
    tape = _TAPES[name]
    fast = times_of(tape, factors=Factors(device=device, host=host, network=network))
    assert fast.step_s <= times_of(tape).step_s * (1 + 1e-9)


def test_a_deep_model_costs_no_more_instructions_than_a_shallow_one() -> None:
    from trainworthy.estimate.program import program_of

    def size(layers: int) -> int:
        tape = chain(layers=layers)
        costs = costs_of(tape, machine=H100)
        return len(program_of(tape, costs=costs, step=1, in_order=False))

    assert size(126) == size(5)


def test_evaluation_is_no_part_of_a_step() -> None:
    tape = chain()
    rows = tuple(replace_phase(row) if tape.modules[row.module] == "layers.{}" else row for row in tape.rows)
    quiet = replace(tape, rows=rows)
    assert times_of(quiet).step_s < 0.7 * times_of(tape).step_s


def replace_phase(row: Row) -> Row:
    return row._replace(phase=PHASES.index("other"))


def test_the_step_of_a_tape() -> None:
    assert step_of(chain()) == 1
    assert step_of(small_training()) == 2
