"""Where a step's time goes: by phase, class of operation, module and line; and what bounds it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from trainworthy.estimate.costs import Cost
from trainworthy.estimate.machine import Machine
from trainworthy.estimate.op_classes import LAID_OUT
from trainworthy.estimate.result import BOUNDS, BoundBy, Bounds, CallTime, Point, ShareRow
from trainworthy.estimate.simulate import StepTimes
from trainworthy.tape.record import PHASES, Row, Signature, Tape

__all__ = ["Breakdown", "bound_by", "breakdown", "call_times", "floor_s", "points"]

_MAX_POINTS = 400


@dataclass(slots=True)
class _Sum:
    """Time and work of rows that are shown together."""

    ops: int = 0
    flops: int = 0
    moved_bytes: int = 0
    compute_s: float = 0.0
    memory_s: float = 0.0
    stalled_s: float = 0.0
    by_bound: dict[Bounds, float] = field(default_factory=dict)

    def add(self, signature: Signature, cost: Cost, count: int) -> None:
        """Add ``count`` calls."""
        self.ops += count
        self.flops += count * (signature.flops or 0)
        self.moved_bytes += count * signature.moved_bytes
        self.compute_s += count * cost.compute_s
        self.memory_s += count * cost.memory_s
        self.put(device_bound(cost), count * cost.device_s)

    def put(self, bound: Bounds, seconds: float) -> None:
        """Add time that ``bound`` decides."""
        if seconds > 0:
            self.by_bound[bound] = self.by_bound.get(bound, 0.0) + seconds

    def stall(self, bound: Bounds, seconds: float) -> None:
        """Add time that the device stands still."""
        self.stalled_s += seconds
        self.put(bound, seconds)

    def row(self, name: str, step_s: float) -> ShareRow:
        """Return the sums as a row."""
        seconds = sum(self.by_bound.values())
        bound = max(self.by_bound.items(), key=lambda item: item[1])[0] if self.by_bound else None
        return ShareRow(
            name=name, seconds=seconds, share=seconds / step_s if step_s else 0.0, ops=self.ops, flops=self.flops,
            moved_bytes=self.moved_bytes, compute_s=self.compute_s, memory_s=self.memory_s, stalled_s=self.stalled_s,
            bound=bound,
        )  # fmt: skip


def device_bound(cost: Cost) -> Bounds:
    """Return what decides how long a kernel takes."""
    return cost.bound if cost.bound in ("compute", "memory", "latency") else "memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakdown:
    """The step by four views; what the device stands still for is in ``phases`` and in rows of its own elsewhere."""

    phases: tuple[ShareRow, ...]
    classes: tuple[ShareRow, ...]
    modules: tuple[ShareRow, ...]
    lines: tuple[ShareRow, ...]


def breakdown(tape: Tape, costs: Sequence[Cost], times: StepTimes, *, step: int, in_order: bool) -> Breakdown:
    """Sum a simulated step."""
    counts = {row: n for row, n in tape.row_counts(step).items() if costs[row].op_class != "collective"}
    stalls = _stalls(tape, costs, times, step=step, in_order=in_order)

    def view(name_of: Callable[[Row, Cost], str], *, in_place: bool) -> tuple[ShareRow, ...]:
        sums: dict[str, _Sum] = {}
        for row, count in counts.items():
            signature = tape.signatures[tape.rows[row].signature]
            name = name_of(tape.rows[row], costs[row])
            sums.setdefault(name, _Sum()).add(signature, costs[row], count)
        for (bound, phase), seconds in stalls.items():
            sums.setdefault(phase if in_place else _WAITS[bound], _Sum()).stall(bound, seconds)
        rows = [each.row(name, times.step_s) for name, each in sums.items()]
        return tuple(sorted((row for row in rows if row.seconds > 0), key=lambda row: -row.seconds))

    phases = view(lambda row, _: PHASES[row.phase], in_place=True)
    return Breakdown(
        phases=tuple(sorted(phases, key=lambda row: PHASES.index(row.name))),
        classes=view(lambda _, cost: cost.op_class, in_place=False),
        modules=view(lambda row, _: tape.modules[row.module] or "(outside modules)", in_place=False),
        lines=view(lambda row, _: str(tape.sources[row.source]), in_place=False),
    )


_WAITS: dict[str, str] = {
    "host": "(waits for the host)", "network": "(waits for the network)", "bubble": "(waits for another stage)",
}  # fmt: skip


def _stalls(
    tape: Tape, costs: Sequence[Cost], times: StepTimes, *, step: int, in_order: bool
) -> dict[tuple[Bounds, str], float]:
    """Return what the device stands still for, by cause and phase; on a CPU that is what issuing operations takes."""
    found: dict[tuple[Bounds, str], float] = {}
    for (cause, phase), seconds in times.stalls_s.items():
        if seconds > 1e-12:  # less is rounding
            found[cause, phase] = seconds
    if in_order:
        for row, count in tape.row_counts(step).items():
            key: tuple[Bounds, str] = ("host", PHASES[tape.rows[row].phase])
            found[key] = found.get(key, 0.0) + count * costs[row].host_s
        if times.data_s:
            found["host", "data"] = found.get(("host", "data"), 0.0) + times.data_s
        busy = sum(n * costs[row].device_s for row, n in tape.row_counts(step).items())
        left = times.step_s - busy - sum(found.values())
        if left > 1e-12:  # what the host does once a step
            found["host", "other"] = found.get(("host", "other"), 0.0) + left
    return found


def bound_by(tape: Tape, costs: Sequence[Cost], times: StepTimes, *, step: int, in_order: bool) -> BoundBy | None:
    """Return the shares of a step's time by what bounds it; None of a step without any."""
    if times.step_s <= 0:
        return None
    sums: dict[Bounds, float] = dict.fromkeys(BOUNDS, 0.0)
    for row, count in tape.row_counts(step).items():
        sums[device_bound(costs[row])] += count * costs[row].device_s
    for (bound, _), seconds in _stalls(tape, costs, times, step=step, in_order=in_order).items():
        sums[bound] += seconds
    left = times.step_s - sum(sums.values())
    if left > 0:  # collectives that end after the last kernel, or a host that nothing on the device waits for
        sums["network" if sums["network"] or tape.groups else "host"] += left
    whole = sum(sums.values())
    return BoundBy(**{name: seconds / whole for name, seconds in sums.items()}) if whole else None


def floor_s(tape: Tape, *, machine: Machine, step: int) -> float:
    """Return the time of a step at the stated peaks: the longer of arithmetic and memory, operation by operation.

    No launches, no host, no network: what no software can go below with these operations.
    """
    row = machine.gpu or machine.cpu
    total = 0.0
    for index, count in tape.row_counts(step).items():
        signature = tape.signatures[tape.rows[index].signature]
        if signature.collective is not None:
            continue
        peak = machine.peak_tflops(unit_of(signature, machine))
        compute_s = (signature.flops or 0) / (peak * 1e12) if peak else 0.0
        memory_s = signature.moved_bytes / (row.memory_gb_per_s * 1e9) if row is not None else 0.0
        total += count * max(compute_s, memory_s)
    return total


def unit_of(signature: Signature, machine: Machine) -> str:
    """Return the unit whose peak an operation is held against."""
    dtype = next((meta.dtype for meta in signature.inputs if meta.shape), "float32")
    return machine.unit(dtype, conv="convolution" in signature.name)


def points(
    tape: Tape, costs: Sequence[Cost], *, machine: Machine, step: int, step_s: float, limit: int = _MAX_POINTS
) -> tuple[Point, ...]:
    """Return the operations of a step on the roofline, those of most time first."""
    groups: dict[tuple[str, int, int, str, float], list[tuple[int, int]]] = {}
    for row, count in tape.row_counts(step).items():
        cost, place = costs[row], tape.rows[row]
        signature = tape.signatures[place.signature]
        work = (signature.flops or 0) + signature.pointwise_flops
        if cost.device_s > 0 and signature.moved_bytes > 0 and work > 0:
            key = (signature.name, place.module, place.source, unit_of(signature, machine), work)
            groups.setdefault(key, []).append((row, count))
    found = [_point(tape, costs, members, unit=key[3], step_s=step_s) for key, members in groups.items()]
    return tuple(sorted(found, key=lambda point: -point.seconds)[:limit])


def _point(tape: Tape, costs: Sequence[Cost], members: Sequence[tuple[int, int]], *, unit: str, step_s: float) -> Point:
    first = tape.rows[members[0][0]]
    signature, cost = tape.signatures[first.signature], costs[members[0][0]]
    count = sum(n for _, n in members)
    seconds = sum(n * costs[row].device_s for row, n in members)
    work = count * ((signature.flops or 0) + signature.pointwise_flops)
    moved = sum(n * tape.signatures[tape.rows[row].signature].moved_bytes for row, n in members)
    source = tape.sources[first.source]
    return Point(
        name=signature.name.removesuffix(LAID_OUT), op_class=cost.op_class, module=tape.modules[first.module],
        path=source.path, line=source.line, unit=unit if signature.flops else "fp32", count=count, seconds=seconds,
        share=seconds / step_s if step_s else 0.0, flops_per_byte=work / moved, tflops=work / seconds / 1e12,
        bound=device_bound(cost),
    )  # fmt: skip


def call_times(tape: Tape, costs: Sequence[Cost], times: StepTimes, *, step: int) -> tuple[CallTime, ...]:
    """Return the collectives of a step by kind, group and line, the longest first."""
    groups: dict[tuple[str, int, int, int], list[tuple[int, int]]] = {}
    for row, count in tape.row_counts(step).items():
        place = tape.rows[row]
        call = tape.signatures[place.signature].collective
        if call is not None:
            groups.setdefault((call.kind, call.group, place.source, place.phase), []).append((row, count))
    found = []
    for (kind, group, source, phase), members in groups.items():
        calls = [(tape.signatures[tape.rows[row].signature].collective, row, n) for row, n in members]
        found.append(
            CallTime(
                kind=kind, group=tape.groups[group].name, ranks=len(tape.groups[group].ranks),
                path=tape.sources[source].path, line=tape.sources[source].line, phase=PHASES[phase],
                calls=sum(n for _, n in members),
                payload_bytes=sum(n * max(c.bytes_in, c.bytes_out) for c, _, n in calls if c is not None),
                seconds=sum(n * costs[row].network_s for row, n in members),
                exposed_s=sum(times.exposed_s.get(row, 0.0) for row, _ in members),
            )
        )  # fmt: skip
    return tuple(sorted(found, key=lambda call: (-call.exposed_s, -call.seconds)))
