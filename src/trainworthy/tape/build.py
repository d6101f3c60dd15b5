"""Turn what the recorder wrote down into a folded tape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from trainworthy.tape.fold import fold
from trainworthy.tape.modules import split_template
from trainworthy.tape.nodes import Leaf
from trainworthy.tape.record import PHASES, Kind, ParameterGroup, Row, Segment, StorageClass, Tape

if TYPE_CHECKING:
    from trainworthy.tape.recorder import Recorder

_DATA, _RECOMPUTE, _BACKWARD = (PHASES.index(p) for p in ("data", "recompute", "backward"))


class RawOp(NamedTuple):
    """One operation as recorded: numbers into the recorder's tables."""

    signature: int
    phase: int
    step: int
    module: int
    source: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class StorageRecord:
    """One storage as recorded; ``birth`` -1: before the recording, ``death`` None: still alive."""

    __slots__ = ("birth", "death", "device", "kind", "module", "number", "origin", "phase", "ref",
                 "size_bytes", "source", "step")  # fmt: skip

    def __init__(self, number: int, size_bytes: int, device: str, birth: int, origin: str) -> None:
        self.number = number
        self.size_bytes = size_bytes
        self.device = device
        self.birth = birth
        self.origin = origin
        self.death: int | None = None
        self.kind: Kind | None = None
        self.phase = 0
        self.step = 0
        self.source = 0
        self.module = 0
        self.ref: Any = None


def build_tape(recorder: Recorder, **fields: Any) -> Tape:
    """Fold the recording into a tape; ``fields`` are further fields of ``Tape``."""
    return _Builder(recorder).build(fields)


class _Builder:
    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.ops = list(recorder.ops)
        self.storages = list(recorder.ledger.records)
        names = recorder.modules.display_paths()
        self.templates: dict[str, int] = {}
        self.places: list[tuple[int, tuple[int, ...]]] = []
        for name in names:
            template, numbers = split_template(name)
            index = self.templates.setdefault(template, len(self.templates))
            self.places.append((index, numbers))
        self.classes: dict[StorageClass, int] = {}
        self.rows: dict[Row, int] = {}

    def build(self, fields: dict[str, Any]) -> Tape:
        recorder = self.recorder
        classes = self._storage_classes()
        births, deaths = self._lifetimes(len(self.ops))
        segments: list[tuple[int, list[Leaf]]] = []
        for index, op in enumerate(self.ops):
            leaf = self._leaf(op, births.get(index, ()), deaths.get(index, ()), classes)
            if not segments or segments[-1][0] != op.step:
                segments.append((op.step, []))
            segments[-1][1].append(leaf)
        completed = recorder.steps.completed
        folded = tuple(Segment(step, 0 < step <= completed or step == 0, fold(list(nodes))) for step, nodes in segments)
        return Tape(
            signatures=tuple(recorder.signatures), sources=tuple(recorder.finder.sources),
            modules=tuple(self.templates), classes=tuple(self.classes), rows=tuple(self.rows),
            segments=folded, model=recorder.modules.describe(),
            parameter_groups=recorder.steps.parameter_groups or parameter_groups(recorder),
            **fields,
        )  # fmt: skip

    def _leaf(self, op: RawOp, born: list[int] | tuple[()], dead: list[int] | tuple[()], classes: list[int]) -> Leaf:
        template, numbers = self.places[op.module]
        phase = op.phase
        if phase >= len(PHASES):  # evaluation
            phase = PHASES.index("other" if self.recorder.steps.trained else "forward")
        row = Row(
            op.signature, phase, template, op.source,
            tuple([classes[i] for i in born]), tuple([classes[i] for i in dead]),
        )  # fmt: skip
        index = self.rows.setdefault(row, len(self.rows))
        return Leaf(index, (*numbers, *op.inputs, *op.outputs, *born, *dead))

    def _storage_classes(self) -> list[int]:
        """Give every storage its class, deciding what was left open while recording."""
        used_in_backward: set[int] = set()
        for op in self.ops:
            if op.phase == _BACKWARD:
                used_in_backward.update(op.inputs)
        numbers = []
        for record in self.storages:
            kind: Kind = record.kind or "temporary"
            if record.kind is None and record.phase == _RECOMPUTE:
                kind = "activation" if record.number in used_in_backward else "temporary"
            if record.kind is None and record.phase == _DATA:
                kind = "input"
            template, _ = self.places[record.module]
            cls = StorageClass(record.device, kind, record.size_bytes, record.origin, record.source, template)
            numbers.append(self.classes.setdefault(cls, len(self.classes)))
        return numbers

    def _lifetimes(self, end: int) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
        """Return the storages born with, and dead after, each operation."""
        births: dict[int, list[int]] = {}
        deaths: dict[int, list[int]] = {}
        for record in self.storages:
            if end == 0:
                break
            # Born between operations (a parameter turned virtual): with the next one; storages
            # that lived before the recording: with the first.
            birth = min(max(record.birth, 0), end - 1)
            births.setdefault(birth, []).append(record.number)
            if record.death is not None:
                # ``death`` counts the operations that had finished; it died after the last.
                deaths.setdefault(max(record.death - 1, birth), []).append(record.number)
        return births, deaths


def parameter_groups(recorder: Recorder) -> tuple[ParameterGroup, ...]:
    """Group the parameters by optimizer, dtype, device and layout as they are now."""
    groups: dict[tuple[str, str, str, str], list[int]] = {}
    seen: set[int] = set()
    for optimizer in recorder.steps.optimizers:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                seen.add(id(parameter))
                _count(groups, type(optimizer).__name__, parameter)
    for parameter in recorder.parameters():
        if id(parameter) not in seen:
            _count(groups, "none", parameter)
    return tuple(
        ParameterGroup(optimizer=o, dtype=d, device=v, layout=lay, tensors=n[0], elements=n[1])
        for (o, d, v, lay), n in groups.items()
    )


def _count(groups: dict[tuple[str, str, str, str], list[int]], optimizer: str, p: Any) -> None:
    layout = "contiguous"
    if not p.is_contiguous():
        import torch

        channels_last = p.dim() == 4 and p.is_contiguous(memory_format=torch.channels_last)
        layout = "channels_last" if channels_last else "strided"
    key = (optimizer, str(p.dtype).removeprefix("torch."), str(p.device), layout)
    counts = groups.setdefault(key, [0, 0])
    counts[0] += 1
    counts[1] += p.numel()
