"""Grids in text and SVG, and the columns of tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explain.page import read
from trainworthy.explain.drawing import Grid, Svg, beside, boxes, columns, grids_svg, numbered

words = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=6)


@given(st.lists(st.lists(words, min_size=1, max_size=4), min_size=1, max_size=4))
def test_boxes_are_rectangles(cells: list[list[str]]) -> None:
    width = len(cells[0])
    rows = [(row * width)[:width] for row in cells]
    lines = boxes(Grid(cells=rows, names=[str(at) for at in range(len(rows))]))
    assert len(lines) == 2 * len(rows) + 1
    assert len({len(line) for line in lines}) == 1
    assert all(word in line for row, line in zip(rows, lines[1::2], strict=True) for word in row)


def test_heads_stand_over_their_columns() -> None:
    lines = boxes(Grid(cells=[["1", "2"]], heads=["first", "x"], names=["r"], title="t"))
    assert lines[0] == "t"
    assert lines[1].index("first") == lines[3].index("1") - 4
    assert boxes(Grid(cells=[])) == []


def test_columns_and_blocks() -> None:
    assert columns([["a", 1], ["bb", 10]], align="lr") == ["a    1", "bb  10"]
    assert columns([["a"], ["b", "c"]], align="ll") == ["a", "b  c"]
    assert columns([]) == []
    assert beside(["a"], ["b", "c"], gap=1, middle=True) == ["a b", "  c"]
    assert [mark for mark, _ in numbered(["x"] * 10)][0::9] == [" 1.", "10."]


def test_svg_is_well_formed_and_safe() -> None:
    grid = Grid(
        cells=[["<script>", None], ["&", '"']], title="<b>", heads=["<i>", "h"], names=["<u>", "n"],
        marks={(0, 0): "bad", (1, 0): "added", (1, 1): "faint"},
    )  # fmt: skip
    svg = grids_svg("a & b", [grid, grid])
    reader = read(svg)
    assert "<script>" in "".join(reader.words)
    assert "<script>" not in svg
    assert svg.count("<rect") == 6


def test_arrows_and_growth() -> None:
    picture = Svg(title="t")
    picture.line(0, 0, 40, 30, arrow=True, faint=True)
    picture.text(100, 10, "end", anchor="end")
    text = picture.render()
    assert "<polygon" in text
    assert 'viewBox="-2 -2 104' in text
    read(text)


@pytest.mark.parametrize("arrow", [True, False])
def test_a_line_without_length(arrow: bool) -> None:
    picture = Svg(title="t")
    picture.line(5, 5, 5, 5, arrow=arrow)
    read(picture.render())
