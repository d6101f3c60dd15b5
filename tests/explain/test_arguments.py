"""What the command line takes for a shape, a size, a count, and what it says to the rest."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainworthy.explain.arguments import at_least, count, integers, nested, number, per_axis, shape, shape_with_unknown

sizes = st.lists(st.integers(0, 10**6), max_size=6).map(tuple)


@given(sizes)
def test_shapes_are_read_as_python_writes_them(wanted: tuple[int, ...]) -> None:
    assert shape(str(wanted)) == wanted
    assert shape(str(list(wanted))) == wanted
    if wanted:
        assert shape(",".join(map(str, wanted))) == wanted
        assert shape("x".join(map(str, wanted))) == wanted


@given(st.text(max_size=12))
def test_anything_else_is_an_argument_error(text: str) -> None:
    for read in (shape, shape_with_unknown, integers, count, number, nested, per_axis(minimum=1), at_least(0)):
        with contextlib.suppress(argparse.ArgumentTypeError):
            read(text)


@pytest.mark.parametrize(("read", "text", "said"), [
    (shape, "", "is not a shape"), (shape, "(1,2", "is not a shape"), (shape, "(1]", "is not a shape"),
     (shape, "1e30", "not a whole number"),
    (shape, "(2,-1)", "-1 is too small"), (shape, "1,,2", "not a whole number"), (shape, "9" * 30, "64-bit"),
    (shape, "9" * 500, "not a whole number"), (shape, ",".join(["1"] * 65), "65 dimensions"),
    (per_axis(minimum=1), "()", "has no number"), (per_axis(minimum=1), "0", "too small"),
    (at_least(1), "-3", "too small"), (at_least(1), "1.5", "not a whole number"), (number, "nan", "finite"),
    (number, "1e999", "finite"), (number, "x", "finite"), (count, "1e30", "64-bit"),
    (count, "0", "whole number from 1"),
    (count, "1.5", "whole number from 1"), (count, "-1", "not a count"), (count, "1e-400", "whole number from 1"),
    (nested, "[[1,2],[3]]", "Rows differ"), (nested, "[1,", "is not a list"), (nested, '["a"]', "whole number of 64"),
    (nested, "[1.5]", "whole number of 64"), (nested, "[" * 500, "is not a list"), (nested, "1" * 3000, "characters"),
    (nested, "[NaN]", "whole number of 64"), (nested, "[true]", "whole number of 64"), (nested, "{}", "whole number"),
])  # fmt: skip
def test_what_is_wrong_is_said(read: Callable[[str], object], text: str, said: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=said):
        read(text)


def test_counts() -> None:
    assert [count(text) for text in ("7e9", "7b", "7B", "0.5k", "1T", "124.4M", "1e18")] == [
        7 * 10**9, 7 * 10**9, 7 * 10**9, 500, 10**12, 124_400_000, 10**18
    ]  # fmt: skip
