"""The ring of an all-reduce and the schedule of a pipeline as inline SVG; the tables beside them have the numbers."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from math import cos, pi, sin

from trainworthy.inspect.cluster import GroupUse
from trainworthy.inspect.pipeline import PipelineSchedule
from trainworthy.report.cluster_lines import picked, ring_chunk, ring_parts, ring_title
from trainworthy.report.tables import clean
from trainworthy.report.timeline_svg import PHASE_COLOURS

_WIDTH = 960
_ROW, _HEAD, _TOP = 26, 70, 8
_RING_HEIGHT, _RADIUS, _MOST = 250, 88, 16
_INSIDE, _BETWEEN = "#4269d0", "#e02d3c"
_OPEN = 'width="100%" role="img" font-size="12" font-family="system-ui, sans-serif" fill="currentColor">'


def pipeline_svg(schedule: PipelineSchedule) -> str:
    """Draw one row a stage, one column a slot."""
    height = _TOP + _ROW * len(schedule.stages) + 8
    slot = (_WIDTH - _HEAD - 8) / schedule.slots
    parts = [f'<svg viewBox="0 0 {_WIDTH} {height}" {_OPEN}', "<title>Pipeline schedule, one row a stage</title>"]
    for at, stage in enumerate(schedule.stages):
        y = _TOP + _ROW * at
        parts.append(f'<text x="{_HEAD - 8}" y="{y + 16}" text-anchor="end">rank {stage.rank}</text>')
        parts.append(
            f'<rect x="{_HEAD}" y="{y}" width="{_WIDTH - _HEAD - 8}" height="{_ROW - 4}" fill-opacity="0.06"/>'
        )
        for block in stage.blocks:
            x, name = _HEAD + slot * block.slot, f"{block.direction}{block.number}"
            colour = PHASE_COLOURS["forward" if block.direction == "F" else "backward"]
            parts.append(
                f'<rect x="{x:.1f}" y="{y}" width="{max(slot - 1, 0.5):.1f}" height="{_ROW - 4}" fill="{colour}">'
                f"<title>{name} on rank {stage.rank}, slot {block.slot + 1}</title></rect>"
            )
            if slot > 6.5 * len(name):
                colour, size = "#fff" if block.direction == "F" else "#000", 12 if slot > 9 * len(name) else 10
                parts.append(
                    f'<text x="{x + slot / 2:.1f}" y="{y + 16}" text-anchor="middle" font-size="{size}" '
                    f'fill="{colour}">{name}</text>'
                )
    return "\n".join([*parts, "</svg>"])


def ring_svg(group: GroupUse, kinds: dict[str, int], *, gpus_per_node: int) -> str:
    """Draw the ring of ranks, and which chunk each sends in each step."""
    title = escape(ring_title(group, kinds))
    parts = [f'<svg viewBox="0 0 {_WIDTH} {_RING_HEIGHT}" {_OPEN}', f"<title>{title}</title>"]
    parts += _circle(group, gpus_per_node)
    halves = ring_parts(kinds)
    room = (_WIDTH - 300) / len(halves)
    for at, part in enumerate(halves):
        parts += _grid(group, part, left=300 + room * at, width=room - 24)
    return "\n".join([*parts, "</svg>"])


def _circle(group: GroupUse, gpus_per_node: int) -> Iterator[str]:
    """Draw ranks on a circle; hops that leave a node are red."""
    shown = picked(len(group.ranks), _MOST)
    centre_x, centre_y = 136, _RING_HEIGHT / 2
    spots = []
    for at in range(len(shown)):
        angle = 2 * pi * at / len(shown) - pi / 2
        spots.append((centre_x + _RADIUS * cos(angle), centre_y + _RADIUS * sin(angle)))
    for at, row in enumerate(shown):
        after = shown[(at + 1) % len(shown)]
        (x1, y1), (x2, y2) = spots[at], spots[(at + 1) % len(shown)]
        if row is None or after is None:
            yield _arrow(x1, y1, x2, y2, "currentColor", dashed=True)
            continue
        a, b = group.ranks[row], group.ranks[after]
        yield _arrow(x1, y1, x2, y2, _BETWEEN if a // gpus_per_node != b // gpus_per_node else _INSIDE)
    for (x, y), row in zip(spots, shown, strict=True):
        name = "…" if row is None else str(group.ranks[row])
        yield (
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="14" fill="Canvas" stroke="currentColor"/>'
            f'<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle">{name}</text>'
        )
    where = "hops between nodes are red" if group.link.hops_between else "all inside one node"
    yield f'<text x="{centre_x}" y="{_RING_HEIGHT - 4}" text-anchor="middle" font-size="11">{where}</text>'


def _arrow(x1: float, y1: float, x2: float, y2: float, colour: str, *, dashed: bool = False) -> str:
    length = max(((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5, 1.0)
    ux, uy = (x2 - x1) / length, (y2 - y1) / length
    x1, y1, x2, y2 = x1 + 15 * ux, y1 + 15 * uy, x2 - 16 * ux, y2 - 16 * uy
    dash = ' stroke-dasharray="3 3"' if dashed else ""
    tip = f"{x2:.1f},{y2:.1f} {x2 - 7 * ux - 4 * uy:.1f},{y2 - 7 * uy + 4 * ux:.1f} "
    tip += f"{x2 - 7 * ux + 4 * uy:.1f},{y2 - 7 * uy - 4 * ux:.1f}"
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="1.5"{dash}/>'
        f'<polygon points="{tip}" fill="{colour}"/>'
    )


def _grid(group: GroupUse, part: str, *, left: float, width: float) -> Iterator[str]:
    """Draw the chunks as coloured cells: ranks down, steps across."""
    n = len(group.ranks)
    rows, columns = picked(n, _MOST), picked(n - 1, _MOST)
    head = {"reduce_scatter": "scatter-reduce", "all_gather": "all-gather"}[part]
    top, cell_w = 40, min((width - 40) / len(columns), 44)
    cell_h = min((_RING_HEIGHT - top - 20) / len(rows), 24)
    yield f'<text x="{left}" y="14" font-weight="600">{head}, {n - 1} step{"s" if n > 2 else ""}</text>'
    for at, column in enumerate(columns):
        name = "…" if column is None else str(column + 1)
        x = left + 40 + cell_w * (at + 0.5)
        yield f'<text x="{x:.1f}" y="32" text-anchor="middle" font-size="10">{name}</text>'
    for down, row in enumerate(rows):
        y = top + cell_h * down
        name = "…" if row is None else clean(group.ranks[row])
        yield f'<text x="{left + 32}" y="{y + cell_h / 2 + 4:.1f}" text-anchor="end" font-size="10">{name}</text>'
        for across, column in enumerate(columns):
            if row is None or column is None:
                continue
            chunk = ring_chunk(part, n, row, column)
            x = left + 40 + cell_w * across
            yield (
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{cell_w - 1:.1f}" height="{cell_h - 1:.1f}" '
                f'fill="hsl({360 * chunk // n} 60% 70%)"><title>step {column + 1}: rank {group.ranks[row]} sends chunk '
                f"{chunk}</title></rect>"
            )
            if cell_w > 16 and cell_h > 11:
                yield (
                    f'<text x="{x + cell_w / 2:.1f}" y="{y + cell_h / 2 + 4:.1f}" text-anchor="middle" font-size="10" '
                    f'fill="#000">{chunk}</text>'
                )
