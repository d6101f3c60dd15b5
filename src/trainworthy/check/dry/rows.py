"""What dry rules need of a tape, row by row."""

from __future__ import annotations

import linecache
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from trainworthy.check.finding import Place
from trainworthy.tape.record import PHASES, ModuleInfo, Op, Phase, Signature, Source, Tape, TensorInfo, TensorMeta


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
    """Return the first dimension of the first data of the reference step that a model is given to learn from.

    That is what goes into modules before they keep something for the backward pass; where nothing is kept, or the data
    is not seen to go in, the first data that any module gets or makes. Without a module, it is that of the first data
    of the step with two dimensions or more: what is made or moved, else what meets parameters.
    """
    ops = [op for op in tape.ops if op.step == tape.reference_step]
    forward = [op for op in ops if op.phase == "forward"]
    if any(info.parameters for info in tape.model):
        within = [op for op in forward if op.module]
        sizes = chain(_learnt_from(within), _sizes(within, 1), (n for op in within for n in _long(op.outputs)))
    else:
        sizes = chain((n for op in ops if op.phase == "data" for n in _long(op.outputs)), _sizes(forward, 2))
    return next(sizes, None)


def _learnt_from(ops: Sequence[Op]) -> Iterator[int]:
    """Yield the size of what went in last, each time something is kept."""
    given: int | None = None
    for op in ops:
        given = next(_sizes([op], 1), given)
        if given is not None and any(t.kind == "activation" for t in op.outputs):
            yield given


def _sizes(ops: Sequence[Op], dims: int) -> Iterator[int]:
    return (t.shape[0] for op in ops for t in op.inputs if t.kind == "input" and len(t.shape) >= dims)


def _long(tensors: Sequence[TensorInfo]) -> Iterator[int]:
    return (t.shape[0] for t in tensors if len(t.shape) >= 2)


def template_of(path: str) -> str:
    """Return the name of a module without its numbers: ``h.{}.attn`` for ``h.3.attn``."""
    return ".".join("{}" if part.isdecimal() else part for part in path.split("."))


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
        numbers = tuple(int(part) for part in path.split(".") if part.isdecimal())
        found = self._by_template.get(template_of(path), [])
        for info in found:
            inside = zip(info.first, numbers, info.last, strict=False)
            if not info.first or all(low <= number <= high for low, number, high in inside):
                return info
        return None


def is_float(tensor: TensorMeta) -> bool:
    """Tell whether a tensor holds floating-point numbers."""
    return tensor.dtype.startswith(("float", "bfloat"))
