"""From tapes and a machine to an estimate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from trainworthy.estimate import breakdown as parts
from trainworthy.estimate.amounts import Amounts
from trainworthy.estimate.bands import Band, band_of
from trainworthy.estimate.costs import Factors, is_evaluation, unknown_ops
from trainworthy.estimate.definitions import DEFINITIONS
from trainworthy.estimate.energy import ENERGY_NOTE, gpu_power_w, kwh, money
from trainworthy.estimate.machine import Machine
from trainworthy.estimate.memory_facts import MemoryFacts, NeededMemory, fits_in, needed_memory
from trainworthy.estimate.quantity import Quantity, maybe_ratio
from trainworthy.estimate.result import BoundBy, Estimate, Mode, RankTime
from trainworthy.estimate.simulate import Loading
from trainworthy.estimate.steps import RankStep, Setting, Simulated, run_steps, step_of
from trainworthy.estimate.topology import Topology
from trainworthy.estimate.totals import run_totals
from trainworthy.estimate.workload import Workload, workload_of
from trainworthy.tape.record import PHASES, Tape

__all__ = ["Question", "estimate_tapes", "loading_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Everything that an estimate is made from.

    ``counts`` says how many ranks each tape stands for; ``members`` which simulated rank any rank is like.
    """

    tapes: Mapping[int, Tape]
    machine: Machine
    topology: Topology | None = None
    mode: Mode = "eager"
    amounts: Amounts = field(default_factory=Amounts)
    memory: MemoryFacts | None = None
    world_size: int = 1
    gpus_per_node: int = 1
    members: Mapping[int, int] | None = None
    fullest: int | None = None
    """The rank whose memory is shown; None: the first."""

    @property
    def first(self) -> int:
        """The rank whose notes say what a step is: the first."""
        return min(self.tapes)

    def count(self, rank: int) -> int:
        """How many ranks a simulated one stands for."""
        if self.members is None:
            return 1
        return sum(1 for like in self.members.values() if like == rank)

    def like(self, rank: int) -> int:
        """Return the simulated rank that ``rank`` is like."""
        return rank if self.members is None else self.members.get(rank, rank)


def estimate_tapes(question: Question) -> Estimate:
    """Estimate the step that the tapes hold."""
    tape = question.tapes[question.first]
    step = step_of(tape)
    memory = _memory(question)
    base = Estimate(**_about(question, tape), **_memory_fields(question, memory), error=tape.notes.get("error"))
    if step is None:
        return replace(base, assumptions=[*base.assumptions, "no step was seen: times are not known"])
    workload = _workload(question, tape, step)
    band = band_of(question.machine)
    expected = _simulate(question, workload.loading, Factors(), 1.0)
    if not expected.ranks:
        return base
    fast = _simulate(question, workload.loading, band.fast, band.data[0])
    slow = _simulate(question, workload.loading, band.slow, band.data[1])
    step_s = Quantity(fast.step_s, expected.step_s, slow.step_s)
    latency_s = Quantity(fast.latency_s, expected.latency_s, slow.latency_s)
    bounds = _bound_by(question, expected)
    return replace(
        base,
        step_time_s=step_s,
        latency_s=latency_s,
        bound_by=bounds,
        band=band.why,
        **_rates(question, expected, step_s, workload),
        **_costs(question, bounds, step_s, workload),
        **_views(question, expected, workload),
        assumptions=_assumptions(question, expected, workload, band),
    )


def loading_of(question: Question) -> Loading | None:
    """Return how batches come."""
    tape = question.tapes[question.first]
    step = step_of(tape)
    return None if step is None else _workload(question, tape, step).loading


def _simulate(question: Question, loading: Loading | None, factors: Factors, data: float) -> Simulated:
    scaled = None if loading is None else Loading(loading.step_s * data, loading.workers)
    setting = Setting(
        machine=question.machine, topology=question.topology, mode=question.mode, loading=scaled,
        stands_for=question.like,
    )  # fmt: skip
    return run_steps(question.tapes, setting, factors=factors)


def _workload(question: Question, tape: Tape, step: int) -> Workload:
    amounts = question.amounts
    return workload_of(
        tape, step=step, rank=question.first, world_size=question.world_size, samples=amounts.samples_per_step,
        tokens=amounts.tokens_per_step, data_s_per_batch=amounts.data_s_per_batch, workers=amounts.workers,
    )  # fmt: skip


# --- fields -------------------------------------------------------------------------------------------------------


def _about(question: Question, tape: Tape) -> dict[str, Any]:
    machine = question.machine
    row = machine.gpu or machine.cpu
    calibration = machine.calibration
    return {
        "gpu": machine.name, "gpu_name": row.names[0] if row is not None and row.names else machine.name,
        "mode": question.mode, "script": tape.notes.get("script"), "arguments": list(tape.notes.get("arguments") or ()),
        "world_size": question.world_size, "gpus_per_node": question.gpus_per_node,
        "calibration": None if calibration is None else calibration.id, "seconds": tape.notes.get("seconds"),
        "price_per_hour": question.amounts.price_per_hour, "definitions": DEFINITIONS,
        "largest_batch": tape.notes.get("largest_batch"),
        "assumptions": list(dict.fromkeys(tape.notes.get("assumptions") or ())),
    }  # fmt: skip


def _memory(question: Question) -> NeededMemory | None:
    if question.memory is None:
        return None
    return needed_memory(question.memory, gpu=question.machine.gpu, world_size=question.world_size)


def _memory_fields(question: Question, memory: NeededMemory | None) -> dict[str, Any]:
    gpu = question.machine.gpu
    driver = None if gpu is None else gpu.memory_bytes
    if memory is None:
        return {"driver_memory_bytes": driver}
    return {
        "peak_memory_bytes": memory.peak, "peak_memory_kind": memory.kind, "allocated_memory_bytes": memory.allocated,
        "needed_memory_bytes": memory.needed, "driver_memory_bytes": driver, "fits": fits_in(memory.needed, driver),
    }  # fmt: skip


def _flops(rank: RankStep) -> tuple[float, float]:
    """Return executed and model FLOPs of one rank's step, evaluation left out."""
    executed = repeated = 0.0
    for index, count in rank.tape.row_counts(rank.step).items():
        row = rank.tape.rows[index]
        signature = rank.tape.signatures[row.signature]
        if is_evaluation(rank.tape, row):
            continue
        executed += count * (signature.flops or 0)
        is_repeat = PHASES[row.phase] == "recompute"
        repeated += count * ((signature.flops or 0) if is_repeat else signature.recompute_flops)
    return executed, executed - repeated


def _rates(question: Question, expected: Simulated, step_s: Quantity, workload: Workload) -> dict[str, Any]:
    gpus = question.world_size
    amounts = {rank: _flops(each) for rank, each in expected.ranks.items()}
    weights = {rank: max(question.count(rank), 1) for rank in amounts}
    whole = sum(weights.values())
    executed = sum(weights[rank] * flops for rank, (flops, _) in amounts.items()) / whole
    model = sum(weights[rank] * flops for rank, (_, flops) in amounts.items()) / whole
    unit = _main_unit(question.machine, expected.ranks[expected.slowest])
    peak = None if unit is None else question.machine.peak_tflops(unit)
    tflops = maybe_ratio(model / 1e12 if model else None, step_s)
    executed_tflops = maybe_ratio(executed / 1e12 if executed else None, step_s)
    return {
        "samples_per_step": workload.samples, "tokens_per_step": workload.tokens,
        "samples_per_s": maybe_ratio(workload.samples, step_s), "tokens_per_s": maybe_ratio(workload.tokens, step_s),
        "tokens_per_s_per_gpu": maybe_ratio(None if workload.tokens is None else workload.tokens / gpus, step_s),
        "model_flops_per_step": model * gpus, "flops_per_step": executed * gpus, "model_tflops_per_gpu": tflops,
        "mfu": None if tflops is None or not peak else tflops.times(1 / peak),
        "hfu": None if executed_tflops is None or not peak else executed_tflops.times(1 / peak),
        "peak_tflops": peak, "peak_unit": unit,
    }  # fmt: skip


def _main_unit(machine: Machine, rank: RankStep) -> str | None:
    """Return the unit that does most of the products' FLOPs: its peak is what MFU is held against."""
    sums: dict[str, int] = {}
    for index, count in rank.tape.row_counts(rank.step).items():
        signature = rank.tape.signatures[rank.tape.rows[index].signature]
        if signature.flops:
            unit = parts.unit_of(signature, machine)
            sums[unit] = sums.get(unit, 0) + count * signature.flops
    return max(sums, key=lambda unit: sums[unit]) if sums else None


def _costs(question: Question, bounds: BoundBy | None, step_s: Quantity, workload: Workload) -> dict[str, Any]:
    machine, amounts, gpus = question.machine, question.amounts, question.world_size
    row = machine.gpu or machine.cpu
    power = None if bounds is None else gpu_power_w(bounds, limit_w=None if row is None else row.power_w)
    return {
        "power_w": power, "energy_kwh_per_step": kwh(power, step_s, gpus=gpus),
        "money_per_step": money(step_s, price_per_hour=amounts.price_per_hour, gpus=gpus),
        "totals": run_totals(amounts, power, step_s, workload, gpus=gpus),
    }  # fmt: skip


def _bound_by(question: Question, expected: Simulated) -> BoundBy | None:
    rank = expected.ranks[expected.slowest]
    in_order = question.machine.kind == "cpu"
    return parts.bound_by(rank.tape, rank.costs, rank.times, step=rank.step, in_order=in_order)


def _views(question: Question, expected: Simulated, workload: Workload) -> dict[str, Any]:
    rank = expected.ranks[expected.slowest]
    machine = question.machine
    views = parts.breakdown(rank.tape, rank.costs, rank.times, step=rank.step, in_order=machine.kind == "cpu")
    units = sorted({parts.unit_of(s, machine) for s in rank.tape.signatures if s.flops} | {"fp32"})
    roofs = {unit: peak for unit in units if (peak := machine.peak_tflops(unit)) is not None}
    row = machine.gpu or machine.cpu
    several = len(expected.ranks) > 1
    return {
        "phases": views.phases, "classes": views.classes, "modules": views.modules, "lines": views.lines,
        "points": parts.points(rank.tape, rank.costs, machine=machine, step=rank.step, step_s=expected.step_s),
        "roofs_tflops": roofs, "memory_gb_per_s": machine.memory_gb_per_s if row is None else row.memory_gb_per_s,
        "communication": parts.call_times(rank.tape, rank.costs, rank.times, step=rank.step),
        "ranks": tuple(_rank_time(question, *each) for each in expected.ranks.items()) if several else (),
        "floor_s": parts.floor_s(rank.tape, machine=machine, step=rank.step), "host_s": rank.times.host_s,
        "data_s": None if workload.loading is None else rank.times.data_s, "data_origin": workload.loading_origin,
        "unknown_ops": unknown_ops(rank.tape, rank.costs, rank.step),
    }  # fmt: skip


def _rank_time(question: Question, number: int, rank: RankStep) -> RankTime:
    times = rank.times
    return RankTime(
        rank=number, stands_for=max(question.count(number), 1), step_s=times.step_s, busy_s=rank.busy_s,
        host_s=times.stalled_s("host"), network_s=times.stalled_s("network"), bubble_s=times.stalled_s("bubble"),
    )  # fmt: skip


def _assumptions(question: Question, expected: Simulated, workload: Workload, band: Band) -> list[str]:
    rank = expected.ranks[expected.slowest]
    notes = [str(each) for tape in question.tapes.values() for each in tape.notes.get("assumptions") or ()]
    notes.append(band.why)
    if question.topology is not None:
        notes += question.topology.assumptions
        if question.world_size > 1:
            notes.append(
                "a step is as slow as its slowest rank; collectives of one group do not slow those of another or the "
                "kernels beside them"
            )
    notes += workload.assumptions
    if question.mode == "compiled":
        notes = [note for note in notes if not note.startswith("torch.compile was asked for")]
        notes.append(
            "compiled: chains of elementwise work become one kernel each that reads and writes what is used outside "
            "of it; launches without dispatcher; what the compiler recomputes or reorders is not modelled"
        )
    if any(is_evaluation(rank.tape, rank.tape.rows[row]) for row in rank.tape.row_counts(rank.step)):
        notes.append("an evaluation inside the step is left out of its time")
    if unknown_ops(rank.tape, rank.costs, rank.step):
        notes.append("operations without a formula (unknown_ops) take the time of the memory that they move")
    if not rank.times.is_steady:
        notes.append("the simulated steps did not become equal; the last one is shown")
    notes.append(ENERGY_NOTE)
    return list(dict.fromkeys(notes))
