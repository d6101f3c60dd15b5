"""Memory over time in a line of text."""

from __future__ import annotations

from trainworthy.inspect.result import RehearsalResult
from trainworthy.tape.memory import MemoryPoint
from trainworthy.units import format_bytes

_BARS = "▁▂▃▄▅▆▇█"
_LETTERS = {
    "data": "d", "forward": "f", "loss": "l", "recompute": "r", "backward": "b", "optimizer": "o", "other": ".",
}  # fmt: skip


def spark_lines(result: RehearsalResult, *, width: int) -> list[str]:
    """Draw allocated memory over the operations of the rehearsal, with the phase of each column below it."""
    points = result.timeline.points
    peak = max((p.total_bytes for p in points), default=0)
    if not peak:
        return []
    columns = _filled(list(points), max(min(width - 10, 90), 10))
    bars = "".join(_BARS[min(num_bytes * len(_BARS) // (peak + 1), len(_BARS) - 1)] for num_bytes, _ in columns)
    phases = "".join(_LETTERS[point.phase] for _, point in columns)
    steps = "".join(_step_mark(columns, i) for i in range(len(columns)))
    return [
        f"over time {bars}",
        f"phase     {phases}",
        f"step      {steps}",
        f"          full bar {format_bytes(peak)}",
        "          d data, f forward, l loss, r recompute, b backward, o optimizer",
    ]


def _filled(points: list[MemoryPoint], num: int) -> list[tuple[int, MemoryPoint]]:
    """Give every column its bytes: the highest point in it, or what lies between its neighbours.

    Stretches without a point are the middle of folded blocks, where memory grows by the same amount every time.
    """
    found = buckets(points, num)
    first, span = points[0].index, points[-1].index - points[0].index + 1
    slots = [(point.index - first) * num // span for point in found]
    columns: list[tuple[int, MemoryPoint]] = []
    for at, (slot, point) in enumerate(zip(slots, found, strict=True)):
        columns.append((point.total_bytes, point))
        if at + 1 < len(found):
            gap, rise = slots[at + 1] - slot, found[at + 1].total_bytes - point.total_bytes
            columns += [(point.total_bytes + rise * k // gap, point) for k in range(1, gap)]
    return columns


def _step_mark(columns: list[tuple[int, MemoryPoint]], at: int) -> str:
    step = columns[at][1].step
    is_first = at == 0 or columns[at - 1][1].step != step
    return str(step % 10) if is_first else "·"


def buckets(points: list[MemoryPoint], num: int) -> list[MemoryPoint]:
    """Divide the operations into ``num`` equal stretches and keep the highest point of each that has one."""
    if not points:
        return []
    first, last = points[0].index, points[-1].index
    span = last - first + 1
    best: dict[int, MemoryPoint] = {}
    for point in points:
        slot = (point.index - first) * num // span
        if slot not in best or point.total_bytes > best[slot].total_bytes:
            best[slot] = point
    return [best[slot] for slot in sorted(best)]
