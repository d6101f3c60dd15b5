"""What dry rules need of a tape, row by row."""

from __future__ import annotations

import linecache
from collections.abc import Iterator
from typing import NamedTuple

from trainworthy.check.finding import Place
from trainworthy.tape.record import PHASES, ModuleInfo, Phase, Signature, Source, Tape, TensorMeta


class RowView(NamedTuple):
    """A row of the tape with its parts looked up, and how often it ran in the step."""

    signature: Signature
    phase: Phase
    module: str
    source: Source
    times: int


def rows(tape: Tape, step: int | None = None) -> Iterator[RowView]:
    """Yield the rows of a step (default: the reference step)."""
    chosen = tape.reference_step if step is None else step
    if chosen is None:
        return
    for number, times in tape.row_counts(chosen).items():
        row = tape.rows[number]
        yield RowView(
            tape.signatures[row.signature], PHASES[row.phase], tape.modules[row.module], tape.sources[row.source], times
        )


def place_of(source: Source, tape: Tape) -> Place:
    """Return the place of a source; the script's first line where none is known."""
    if source.path:
        return Place(source.path, source.line)
    return Place(str(tape.notes.get("script") or "?"), 1)


def source_lines(source: Source, count: int = 3) -> list[str]:
    """Return the lines of a source, if the file is here; nothing if not."""
    lines = [linecache.getline(source.path, source.line + i) for i in range(count)]
    return lines if lines[0] else []


def batch_size(tape: Tape) -> int | None:
    """Return the first dimension of the first data that the model is given in the reference step.

    Without a module, it is that of the first data of the step with two dimensions or more: what is made or moved, else
    what meets parameters.
    """
    first: int | None = None
    met: int | None = None
    for op in tape.ops:
        if op.step != tape.reference_step:
            continue
        if op.phase == "forward" and op.module:
            for tensor in op.inputs:
                if tensor.kind == "input" and tensor.shape:
                    return tensor.shape[0]
        if first is None and op.phase == "data":
            first = next((t.shape[0] for t in op.outputs if len(t.shape) >= 2), None)
        if met is None and op.phase == "forward":
            met = next((t.shape[0] for t in op.inputs if t.kind == "input" and len(t.shape) >= 2), None)
    return None if any(info.parameters for info in tape.model) else met if first is None else first


class ModuleTable:
    """What is known of modules, by the path that an operation names; alike modules share one description."""

    def __init__(self, tape: Tape, *beginnings: str) -> None:
        self._by_template: dict[str, list[ModuleInfo]] = {}
        for info in tape.model:
            if info.class_name.startswith(beginnings):
                self._by_template.setdefault(info.template, []).append(info)

    def __bool__(self) -> bool:
        return bool(self._by_template)

    def values(self) -> list[ModuleInfo]:
        """Return every description."""
        return [info for infos in self._by_template.values() for info in infos]

    def get(self, path: str) -> ModuleInfo | None:
        """Return the description of one module; None if there is none."""
        parts = path.split(".")
        numbers = tuple(int(part) for part in parts if part.isdecimal())
        found = self._by_template.get(".".join("{}" if part.isdecimal() else part for part in parts), [])
        for info in found:
            inside = zip(info.first, numbers, info.last, strict=False)
            if not info.first or all(low <= number <= high for low, number, high in inside):
                return info
        return None


def is_float(tensor: TensorMeta) -> bool:
    """Tell whether a tensor holds floating-point numbers."""
    return tensor.dtype.startswith(("float", "bfloat"))
