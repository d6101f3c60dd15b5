"""The ring of an all-reduce and the schedule of a pipeline, drawn in lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trainworthy.inspect.cluster import ClusterResult, GroupUse
from trainworthy.inspect.links import rank_list
from trainworthy.inspect.pipeline import PipelineSchedule
from trainworthy.inspect.result import RehearsalResult
from trainworthy.report.tables import clean
from trainworthy.units import format_bytes

RING_KINDS = ("all_reduce", "reduce_scatter", "all_gather")
MOST_RINGS = 2
_MOST_RANKS = 8  # of a ring drawn whole; of a larger one the first three and the last
_IDLE = "·"


def drawing_lines(result: RehearsalResult, *, width: int) -> list[str]:
    """Draw what the cluster of a result has to show, with a title above each drawing; none without a cluster."""
    if result.cluster is None:
        return []
    lines = []
    if result.cluster.pipeline is not None:
        lines += ["", *pipeline_lines(result.cluster.pipeline, width=width)]
    drawn: set[tuple[int, str]] = set()  # rings of one size have the same steps
    for group, kinds in rings(result.cluster):
        parts = {(len(group.ranks), part) for part in ring_parts(kinds)}
        lines += ["", *ring_lines(group, kinds, only_ring=parts <= drawn)]
        drawn |= parts
    return lines


# --- pipeline -----------------------------------------------------------------------------------------------------


def pipeline_lines(schedule: PipelineSchedule, *, width: int) -> list[str]:
    """Draw one row a stage and one column a slot; numbers are left out where they do not fit."""
    head = max(len(f"rank {stage.rank}") for stage in schedule.stages) + 2
    widest = max(len(str(b.number)) for stage in schedule.stages for b in stage.blocks) + 2
    cell = widest if head + widest * schedule.slots <= width else 1
    shown = min(schedule.slots, (width - head) // cell)
    lines = [pipeline_title(schedule)]
    for stage in schedule.stages:
        cells = [_IDLE] * schedule.slots
        for block in stage.blocks:
            cells[block.slot] = f"{block.direction}{block.number}" if cell > 1 else block.direction
        row = "".join(f"{text:<{cell}}" for text in cells[:shown])
        lines.append(f"{f'rank {stage.rank}':<{head}}{row}".rstrip())
    more = f" {schedule.slots - shown:,} more slots do not fit here." if shown < schedule.slots else ""
    lines.append(f"{PIPELINE_NOTE}{more}")
    return lines


def pipeline_title(schedule: PipelineSchedule) -> str:
    """Name a schedule and its bubble."""
    return f"Pipeline schedule (step {schedule.step}, as recorded): {100 * schedule.bubble:.0f} % of the slots are idle"


PIPELINE_NOTE = "F, B: a micro-batch forward, backward; · idle. Order, not time: every block has one slot."


# --- ring ---------------------------------------------------------------------------------------------------------


def rings(cluster: ClusterResult) -> list[tuple[GroupUse, dict[str, int]]]:
    """List the groups that carry most in rings, with the largest call of each kind in bytes."""
    found: dict[int, dict[str, int]] = {}
    sent: dict[int, int] = {}
    for t in cluster.communication.traffic:
        if t.kind in RING_KINDS and t.wire_bytes:
            kinds = found.setdefault(t.group, {})
            kinds[t.kind] = max(kinds.get(t.kind, 0), t.largest_bytes)
            sent[t.group] = sent.get(t.group, 0) + t.wire_bytes
    most = sorted(found, key=lambda group: -sent[group])[:MOST_RINGS]
    return [(cluster.communication.groups[group], found[group]) for group in most]


def ring_parts(kinds: dict[str, int]) -> list[str]:
    """List the halves of a ring that the calls use, in order."""
    if "all_reduce" in kinds:
        return ["reduce_scatter", "all_gather"]
    return [kind for kind in ("reduce_scatter", "all_gather") if kind in kinds]


def ring_title(group: GroupUse, kinds: dict[str, int]) -> str:
    """Name a ring by what goes over it."""
    what = "all-reduce" if "all_reduce" in kinds else " and ".join(k.replace("_", "-") for k in ring_parts(kinds))
    return f"Ring {what} on group {clean(group.name)} ({len(group.ranks)} ranks: {rank_list(group.ranks)})"


def ring_notes(group: GroupUse, kinds: dict[str, int]) -> list[str]:
    """Say how much a rank sends in the largest call of each kind, by the closed form."""
    n = len(group.ranks)
    notes = []
    for kind, form, factor in (
        ("all_reduce", "2 (N-1)/N", 2), ("reduce_scatter", "(N-1)/N", 1), ("all_gather", "(N-1)/N", 1),
    ):  # fmt: skip
        if kind in kinds:
            size = kinds[kind]
            notes.append(
                f"Largest {kind}: {format_bytes(size)} in {n} chunks of {format_bytes(size / n)}; each rank sends "
                f"{form} of it, {format_bytes(factor * (n - 1) * size / n)}, in {factor * (n - 1)} steps."
            )
    return notes


def picked(number: int, most: int = _MOST_RANKS) -> list[int | None]:
    """Return which of ``number`` rows or columns to draw; None stands for those left out.

    >>> picked(4), picked(64)
    ([0, 1, 2, 3], [0, 1, 2, None, 63])
    """
    return list(range(number)) if number <= most else [0, 1, 2, None, number - 1]


def ring_lines(group: GroupUse, kinds: dict[str, int], *, only_ring: bool = False) -> list[str]:
    """Draw which chunk each rank sends to the next in each step; ``only_ring`` if that was drawn for another group."""
    n, ranks = len(group.ranks), group.ranks
    parts = ring_parts(kinds)
    rows, columns = picked(n), picked(n - 1)
    cells = {part: list(_cells(part, n, rows, columns)) for part in parts}
    width = max(len(cell) for of in cells.values() for row in of for cell in row) + 1
    first = max(len("step"), *(len(str(ranks[r])) for r in rows if r is not None)) + 6
    lines = [ring_title(group, kinds), _circle(ranks, rows)]
    if only_ring:
        return [*lines, "Steps and chunks as above.", *ring_notes(group, kinds)]
    heads = {"reduce_scatter": "scatter-reduce", "all_gather": "all-gather"}
    block = max(width * len(columns), *(len(heads[p]) for p in parts)) + 2
    lines.append((" " * first + "".join(f"{heads[part]:<{block}}" for part in parts)).rstrip())
    steps = "".join(f"{'…' if c is None else c + 1:<{width}}" for c in columns)
    lines.append((f"{'step':<{first}}" + "".join(f"{steps:<{block}}" for _ in parts)).rstrip())
    for at, row in enumerate(rows):
        name = "…" if row is None else f"rank {ranks[row]}"
        body = ("".join(f"{cell:<{width}}" for cell in cells[part][at]) for part in parts)
        lines.append((f"{name:<{first}}" + "".join(f"{text:<{block}}" for text in body)).rstrip())
    lines.append("Numbers: the chunk that a rank sends to the next in the ring." + _afterwards(parts))
    return lines + ring_notes(group, kinds)


def _afterwards(parts: Sequence[str]) -> str:
    if "reduce_scatter" not in parts:
        return ""
    return " After scatter-reduce the r-th rank has the sum of chunk r."


def _circle(ranks: Sequence[int], rows: Sequence[int | None]) -> str:
    names = ["…" if r is None else str(ranks[r]) for r in rows]
    return " → ".join([*names, f"{ranks[0]}"])


def _cells(part: str, n: int, rows: Sequence[int | None], columns: Sequence[int | None]) -> Iterator[list[str]]:
    for row in rows:
        yield ["…" if row is None or c is None else str(ring_chunk(part, n, row, c)) for c in columns]


def ring_chunk(part: str, n: int, rank: int, step: int) -> int:
    """Return the chunk that ``rank`` sends in ``step``, as ``formulas.ring_schedule`` has it, for rings of any size.

    >>> [ring_chunk("reduce_scatter", 4, 0, step) for step in range(3)]
    [3, 2, 1]
    """
    return (rank - step - (part == "reduce_scatter")) % n
