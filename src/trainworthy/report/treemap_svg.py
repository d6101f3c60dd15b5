"""Modules as a treemap: area is FLOPs. Rectangles stay near squares (Bruls, Huizing and van Wijk, 2000)."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import NamedTuple

from trainworthy.inspect.tree import ModuleRow
from trainworthy.report.tables import clean
from trainworthy.units import format_bytes, format_count, format_flops

_WIDTH, _HEIGHT = 960, 420
_HEAD = 16  # room for the name of a module above what is in it
_MIN_AREA = 40.0  # in square pixels; smaller modules are not drawn
_COLOURS = ("#4269d0", "#efb118", "#3ca951", "#ff725c", "#a463f2", "#6cc5b0", "#9c6b4e", "#97bbf5", "#ff8ab7")


class _Box(NamedTuple):
    x: float
    y: float
    width: float
    height: float


def treemap_svg(rows: list[ModuleRow]) -> str:
    """Draw the modules; empty if there are no FLOPs."""
    total = sum(row.amounts.flops for row in rows)
    if not total:
        return ""
    tops = [row for row in rows if row.amounts.flops]
    if len(tops) == 1 and tops[0].children:
        tops = _parts(tops[0])
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="100%" role="img" font-size="12" '
        f'font-family="system-ui, sans-serif" fill="currentColor">',
        "<title>FLOPs of one step by module</title>",
        *_draw(tops, _Box(0, 0, _WIDTH, _HEIGHT), colour=None, total=total),
        "</svg>",
    ]
    return "\n".join(parts)


def _parts(row: ModuleRow) -> list[ModuleRow]:
    """Return the modules in ``row`` and, as one more, what it does itself."""
    children = [child for child in row.children if child.amounts.flops]
    own = row.amounts.flops - sum(child.amounts.flops for child in children)
    if own > 0 and children:
        rest = ModuleRow(name=f"{row.name} itself", path=row.path, class_name=row.class_name, count=row.count)
        rest.amounts.flops_forward = own
        children.append(rest)
    return children


def _draw(rows: list[ModuleRow], box: _Box, *, colour: str | None, total: int) -> Iterator[str]:
    ordered = sorted(rows, key=lambda row: -row.amounts.flops)
    boxes = squarify([row.amounts.flops for row in ordered], box)
    for at, (row, place) in enumerate(zip(ordered, boxes, strict=True)):
        if place.width * place.height < _MIN_AREA:
            continue
        own_colour = colour or _COLOURS[at % len(_COLOURS)]
        yield _rectangle(row, place, own_colour, total)
        inside = _Box(place.x + 2, place.y + _HEAD, place.width - 4, place.height - _HEAD - 2)
        if row.children and inside.width > 24 and inside.height > 16:
            yield from _draw(_parts(row), inside, colour=own_colour, total=total)


def _rectangle(row: ModuleRow, box: _Box, colour: str, total: int) -> str:
    a = row.amounts
    name = f"{clean(row.name)}{f' x{row.count}' if row.count > 1 else ''}"
    share = f"{100 * a.flops / total:.0f} %"
    tip = (
        f"{name} {clean(row.class_name)}\n{format_flops(a.flops)}, {share} of the step\n"
        f"{format_count(row.parameters)} parameters\n{format_bytes(a.activation_bytes)} saved for backward"
    )
    label = _fitting(f"{name} {share}", name, box.width)
    text = (
        f'<text x="{box.x + 4:.1f}" y="{box.y + 12:.1f}" font-size="11">{escape(label)}</text>'
        if label and box.height > 13
        else ""
    )
    return (
        f'<g><title>{escape(tip)}</title><rect x="{box.x:.1f}" y="{box.y:.1f}" width="{max(box.width - 1, 0.5):.1f}" '
        f'height="{max(box.height - 1, 0.5):.1f}" fill="{colour}" fill-opacity="0.28" stroke="{colour}"/>{text}</g>'
    )


def _fitting(long: str, short: str, width: float) -> str:
    room = int((width - 6) / 6.2)
    if len(long) <= room:
        return long
    return short if len(short) <= room else ""


def squarify(amounts: list[int], box: _Box) -> list[_Box]:
    """Lay out descending ``amounts`` in ``box``: areas in proportion, sides near equal.

    >>> [tuple(b) for b in squarify([2, 1, 1], _Box(0, 0, 4, 2))]
    [(0, 0, 2.0, 2.0), (2.0, 0, 1.0, 2.0), (3.0, 0, 1.0, 2.0)]
    """
    total = sum(amounts)
    if not total or box.width <= 0 or box.height <= 0:
        return [_Box(box.x, box.y, 0, 0) for _ in amounts]
    scale = box.width * box.height / total
    areas = [amount * scale for amount in amounts]
    boxes: list[_Box] = []
    at = 0
    while at < len(areas):
        side = min(box.width, box.height)
        end = at + 1
        while end < len(areas) and _worst(areas[at : end + 1], side) <= _worst(areas[at:end], side):
            end += 1
        placed, box = _strip(areas[at:end], box)
        boxes += placed
        at = end
    return boxes


def _worst(areas: list[float], side: float) -> float:
    whole = sum(areas)
    if not whole or not side or not min(areas):
        return float("inf")
    return max(side**2 * max(areas) / whole**2, whole**2 / (side**2 * min(areas)))


def _strip(areas: list[float], box: _Box) -> tuple[list[_Box], _Box]:
    """Fill a strip along the shorter side; return its boxes and what is left."""
    whole = sum(areas)
    placed = []
    if box.width >= box.height:
        width = whole / box.height if box.height else 0.0
        y = box.y
        for area in areas:
            height = area / width if width else 0.0
            placed.append(_Box(box.x, y, width, height))
            y += height
        return placed, _Box(box.x + width, box.y, box.width - width, box.height)
    height = whole / box.width
    x = box.x
    for area in areas:
        width = area / height if height else 0.0
        placed.append(_Box(x, box.y, width, height))
        x += width
    return placed, _Box(box.x, box.y + height, box.width, box.height - height)
