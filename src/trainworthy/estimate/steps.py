"""Price and simulate the step of one tape, or of the ranks of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from trainworthy.estimate.costs import AS_EXPECTED, COMPILED_STEP_S, Cost, Factors, costs_of, host_slowness
from trainworthy.estimate.fusion import compiled
from trainworthy.estimate.machine import Machine
from trainworthy.estimate.program import Plain, program_of
from trainworthy.estimate.result import Mode
from trainworthy.estimate.simulate import Loading, StepTimes, simulate_ranks
from trainworthy.estimate.timeline import on_host
from trainworthy.estimate.topology import Topology
from trainworthy.tape.record import PHASES, Tape

__all__ = ["RankStep", "Setting", "Simulated", "step_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where and how a step runs."""

    machine: Machine
    topology: Topology | None = None
    mode: Mode = "eager"
    loading: Loading | None = None
    stands_for: Callable[[int], int] = lambda rank: rank

    @property
    def in_order(self) -> bool:
        """Whether the host is the device."""
        return self.machine.kind == "cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class RankStep:
    """One rank's step: the tape as it was priced, what each row costs, and the times."""

    tape: Tape
    costs: tuple[Cost, ...]
    times: StepTimes
    step: int

    @property
    def busy_s(self) -> float:
        """How long the device is busy."""
        return sum(n * self.costs[row].device_s for row, n in self.tape.row_counts(self.step).items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """All ranks that were simulated; a step is as slow as the slowest."""

    ranks: Mapping[int, RankStep]

    @property
    def slowest(self) -> int:
        """The rank with the longest step; of those that wait for each other the busiest."""
        near = [rank for rank, each in self.ranks.items() if each.times.step_s >= 0.995 * self.step_s]
        return max(near, key=lambda rank: self.ranks[rank].busy_s)

    @property
    def step_s(self) -> float:
        """The time of a step."""
        return max(rank.times.step_s for rank in self.ranks.values())

    @property
    def latency_s(self) -> float:
        """The time of one step alone, from idle."""
        return max(rank.times.latency_s for rank in self.ranks.values())


def step_of(tape: Tape) -> int | None:
    """Return the step that stands for the steady state: the last complete one, else the last with operations.

    >>> from trainworthy.tape.record import Tape
    >>> step_of(Tape(signatures=(), sources=(), modules=("",), classes=(), rows=(), segments=())) is None
    True
    """
    if tape.reference_step is not None:
        return tape.reference_step
    steps = [segment.step for segment in tape.segments if segment.nodes and segment.step > 0]
    return max(steps) if steps else None


def run_steps(tapes: Mapping[int, Tape], setting: Setting, *, factors: Factors = AS_EXPECTED) -> Simulated:
    """Simulate the step of every tape; tapes without a step are left out."""
    ready = as_run(tapes, setting.mode)
    priced: dict[int, tuple[Tape, tuple[Cost, ...], int]] = {}
    for rank, tape in ready.items():
        step = step_of(tape)
        if step is not None:
            costs = costs_of(tape, machine=setting.machine, topology=setting.topology, factors=factors, rank=rank)
            priced[rank] = (tape, costs, step)
    # What the host does once a step, whatever its operations.
    once_s = setting.machine.host.step_s
    if setting.mode == "compiled" and not setting.in_order:
        once_s += COMPILED_STEP_S * host_slowness(setting.machine)
    once = Plain(on_host(once_s * factors.host), PHASES.index("other"))
    programs = {
        rank: (once, *program_of(tape, costs=costs, step=step, in_order=setting.in_order))
        for rank, (tape, costs, step) in priced.items()
    }
    times = simulate_ranks(programs, loading=setting.loading, in_order=setting.in_order, stands_for=setting.stands_for)
    return Simulated(
        ranks={
            rank: RankStep(tape=tape, costs=costs, times=times[rank], step=step)
            for rank, (tape, costs, step) in priced.items()
        }
    )


def as_run(tapes: Mapping[int, Tape], mode: Mode) -> Mapping[int, Tape]:
    """Return the tapes as they run: as recorded, or as compiled code."""
    if mode == "eager":
        return tapes
    return {rank: compiled(tape) for rank, tape in tapes.items()}
