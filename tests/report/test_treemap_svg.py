"""Areas of the treemap are in proportion and tile the box."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from report import cases
from trainworthy.report.treemap_svg import _Box, squarify, treemap_svg


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=30), st.floats(20, 2000), st.floats(20, 2000))
def test_areas_are_in_proportion(amounts: list[int], width: float, height: float) -> None:
    ordered = sorted(amounts, reverse=True)
    boxes = squarify(ordered, _Box(0, 0, width, height))
    for amount, box in zip(ordered, boxes, strict=True):
        expected = amount / sum(ordered) * width * height
        assert box.width * box.height == pytest.approx(expected, rel=1e-6, abs=1e-6 * width * height)
        assert box.x >= 0
        assert box.y >= 0
        assert box.x + box.width <= width * (1 + 1e-6)
        assert box.y + box.height <= height * (1 + 1e-6)


def test_nothing_to_draw_is_nothing() -> None:
    assert treemap_svg([]) == ""
    assert treemap_svg(cases.empty().modules) == ""
