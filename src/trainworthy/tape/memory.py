"""Memory over time from a folded tape: exact, and no slower when a block repeats more often.

Within one operation the outputs are allocated while the inputs are still alive; what dies after it
is released before the next one. Inside a folded block every repetition changes the live storages by
the same amount, so the highest point lies in its first or its last repetition.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from trainworthy.tape.nodes import Leaf, Node, count_ops, fill_template, leaves, shift
from trainworthy.tape.record import KINDS, PHASES, Kind, Phase, Source, Tape

_MAX_POINTS = 1500


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPoint:
    """Memory while operation ``index`` runs; ``by_kind_bytes`` sums to ``total_bytes``."""

    index: int
    step: int
    phase: Phase
    op: str
    module: str
    source: Source
    total_bytes: int
    by_kind_bytes: dict[Kind, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldStorages:
    """Storages alive at the peak that were born at one line, in one module, for one purpose."""

    kind: Kind
    source: Source
    module: str
    origin: str
    num_storages: int
    total_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryTimeline:
    """Memory of one device over the whole tape.

    ``peak`` is the first operation at which the maximum is reached. ``points`` has at most some
    1,500 operations, the peak among them; repetitions in the middle of folded blocks are left out.
    """

    device: str
    peak: MemoryPoint | None
    points: tuple[MemoryPoint, ...]
    held: tuple[HeldStorages, ...]
    end_bytes: int

    @property
    def peak_bytes(self) -> int:
        """Highest number of allocated bytes; 0 if nothing was ever allocated on the device."""
        return self.peak.total_bytes if self.peak else 0


def memory_timeline(tape: Tape, device: str) -> MemoryTimeline:
    """Compute memory over time on ``device``."""
    return _Walk(tape, device).run()


class _Walk:
    """One pass over the nodes with the live storages as a counter of storage classes."""

    def __init__(self, tape: Tape, device: str) -> None:
        self.tape, self.device = tape, device
        unit = tape.granularity_bytes
        self.sizes = [-(-c.size_bytes // unit) * unit if c.device == device else 0 for c in tape.classes]
        self.live: Counter[int] = Counter()
        self.total = 0
        self.index = 0
        self.peak: tuple[int, int, int, Leaf] | None = None  # bytes, index, step, leaf
        self.peak_live: Counter[int] = Counter()
        self.points: list[MemoryPoint] = []
        self.every = max(1, sum(_shown_ops(n) for s in tape.segments for n in s.nodes) // _MAX_POINTS)
        self._shown = 0

    def run(self) -> MemoryTimeline:
        for segment in self.tape.segments:
            for node in segment.nodes:
                self._node(node, segment.step)
        points = self.points
        peak = None
        if self.peak is not None:
            total, index, step, leaf = self.peak
            peak = self._point(index, step, leaf, total, self.peak_live)
            points = sorted([p for p in points if p.index != index] + [peak], key=lambda p: p.index)
        return MemoryTimeline(
            device=self.device, peak=peak, points=tuple(points), held=tuple(self._held()),
            end_bytes=self.total,
        )  # fmt: skip

    def _node(self, node: Node, step: int) -> None:
        if isinstance(node, Leaf):
            self._leaf(node, step)
            return
        before, total = self.live.copy(), self.total
        self._body(node.body, step)
        if node.count == 1:
            return
        # Every further repetition changes memory by the same amount: jump to the last one.
        skipped, body_ops = node.count - 2, sum(count_ops(child) for child in node.body)
        for which in set(self.live) | set(before):
            change = self.live[which] - before[which]
            if change:
                self.live[which] += skipped * change
        self.total += skipped * (self.total - total)
        self.index += skipped * body_ops
        last = tuple(
            shift(child, increment, node.count - 1) for child, increment in zip(node.body, node.increments, strict=True)
        )
        self._body(last, step)

    def _body(self, body: tuple[Node, ...], step: int) -> None:
        for child in body:
            self._node(child, step)

    def _leaf(self, leaf: Leaf, step: int) -> None:
        row = self.tape.rows[leaf.row]
        for which in row.births:
            self.live[which] += 1
            self.total += self.sizes[which]
        if self.total > (self.peak[0] if self.peak else 0):
            self.peak = (self.total, self.index, step, leaf)
            self.peak_live = self.live.copy()
        if self._shown % self.every == 0:
            self.points.append(self._point(self.index, step, leaf, self.total, self.live))
        self._shown += 1
        for which in row.deaths:
            self.live[which] -= 1
            self.total -= self.sizes[which]
        self.index += 1

    def _point(self, index: int, step: int, leaf: Leaf, total: int, live: Counter[int]) -> MemoryPoint:
        row, tape = self.tape.rows[leaf.row], self.tape
        template = tape.modules[row.module]
        by_kind = dict.fromkeys(KINDS, 0)
        for which, count in live.items():
            by_kind[tape.classes[which].kind] += count * self.sizes[which]
        return MemoryPoint(
            index=index, step=step, phase=PHASES[row.phase],
            op=tape.signatures[row.signature].name,
            module=fill_template(template, leaf.ints[: template.count("{}")]),
            source=tape.sources[row.source], total_bytes=total, by_kind_bytes=by_kind,
        )  # fmt: skip

    def _held(self) -> Iterator[HeldStorages]:
        tape = self.tape
        groups: dict[tuple[Kind, int, int, str], list[int]] = {}
        for which, count in self.peak_live.items():
            cls = tape.classes[which]
            if count and self.sizes[which]:
                group = groups.setdefault((cls.kind, cls.source, cls.module, cls.origin), [0, 0])
                group[0] += count
                group[1] += count * self.sizes[which]
        ordered = sorted(groups.items(), key=lambda item: -item[1][1])
        for (kind, source, module, origin), (num, total) in ordered:
            yield HeldStorages(
                kind=kind, source=tape.sources[source], module=tape.modules[module],
                origin=origin, num_storages=num, total_bytes=total,
            )  # fmt: skip


def _shown_ops(node: Node) -> int:
    if isinstance(node, Leaf):
        return 1
    return min(node.count, 2) * sum(_shown_ops(child) for child in node.body)


def exact_timeline_bytes(tape: Tape, device: str) -> list[int]:
    """List the bytes allocated while each operation runs, fully unfolded (for tests and export)."""
    unit = tape.granularity_bytes
    totals, total = [], 0
    for segment in tape.segments:
        for leaf in leaves(segment.nodes):
            row = tape.rows[leaf.row]
            for sign, which in [(1, b) for b in row.births]:
                cls = tape.classes[which]
                total += sign * (-(-cls.size_bytes // unit) * unit) * (cls.device == device)
            totals.append(total)
            for which in row.deaths:
                cls = tape.classes[which]
                total -= (-(-cls.size_bytes // unit) * unit) * (cls.device == device)
    return totals
