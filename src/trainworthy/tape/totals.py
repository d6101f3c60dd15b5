"""Sums over a tape by module and by source line; folded blocks are counted, not walked."""

from __future__ import annotations

from dataclasses import dataclass, field

from trainworthy.tape.record import PHASES, Phase, Row, Signature, Source, Tape


@dataclass(slots=True, kw_only=True)
class Totals:
    """Sums over operations. ``flops_by_phase`` covers dot products; unknown ones are counted."""

    num_ops: int = 0
    flops: int = 0
    pointwise_flops: int = 0
    moved_bytes: int = 0
    host_syncs: int = 0
    unknown_flop_ops: int = 0
    flops_by_phase: dict[Phase, int] = field(default_factory=dict)

    def add(self, signature: Signature, phase: Phase, count: int) -> None:
        """Add ``count`` calls of an operation."""
        self.num_ops += count
        self.pointwise_flops += count * signature.pointwise_flops
        self.moved_bytes += count * signature.moved_bytes
        self.host_syncs += count * signature.host_syncs
        if signature.flops is None:
            self.unknown_flop_ops += count
        else:
            self.flops += count * signature.flops
            self.flops_by_phase[phase] = self.flops_by_phase.get(phase, 0) + count * signature.flops

    @property
    def flops_per_byte(self) -> float | None:
        """Arithmetic intensity: all FLOPs, pointwise ones included, per byte moved."""
        if not self.moved_bytes:
            return None
        return (self.flops + self.pointwise_flops) / self.moved_bytes


@dataclass(slots=True, kw_only=True)
class ModuleTotals(Totals):
    """Sums of the operations that ran directly in a module (its children not included).

    ``module`` is a path template (``h.{}.attn``); ``activation_bytes`` are the storages born in
    it that were saved for the backward pass.
    """

    module: str
    activation_bytes: int = 0


@dataclass(slots=True, kw_only=True)
class LineTotals(Totals):
    """Sums of the operations caused by one source line."""

    source: Source


def totals_by_module(tape: Tape, step: int | None) -> tuple[ModuleTotals, ...]:
    """Sum by module template, in order of first appearance."""
    groups: dict[int, ModuleTotals] = {}
    for row, signature, count in _rows(tape, step):
        group = groups.get(row.module)
        if group is None:
            group = groups[row.module] = ModuleTotals(module=tape.modules[row.module])
        group.add(signature, PHASES[row.phase], count)
        for which in row.births:
            cls = tape.classes[which]
            if cls.kind == "activation":
                group.activation_bytes += count * cls.size_bytes
    return tuple(groups.values())


def totals_by_line(tape: Tape, step: int | None) -> tuple[LineTotals, ...]:
    """Sum by source line, the most FLOPs first, then the most bytes."""
    groups: dict[int, LineTotals] = {}
    for row, signature, count in _rows(tape, step):
        group = groups.get(row.source)
        if group is None:
            group = groups[row.source] = LineTotals(source=tape.sources[row.source])
        group.add(signature, PHASES[row.phase], count)
    return tuple(sorted(groups.values(), key=lambda t: (-t.flops, -t.moved_bytes)))


def step_totals(tape: Tape, step: int | None) -> Totals:
    """Sum over one step (``None``: over the whole tape)."""
    totals = Totals()
    for row, signature, count in _rows(tape, step):
        totals.add(signature, PHASES[row.phase], count)
    return totals


def _rows(tape: Tape, step: int | None) -> list[tuple[Row, Signature, int]]:
    return [
        (tape.rows[index], tape.signatures[tape.rows[index].signature], count)
        for index, count in tape.row_counts(step).items()
    ]
