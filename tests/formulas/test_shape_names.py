"""Names of dimensions: what fits them, by hand and by laws."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainworthy.formulas.shape_names import Misfit, misfit

FITS = [
    ("batch time 64", (8, 16, 64)), ("", ()), ("...", ()), ("... c", (2, 3, 4)), ("*lead c", (4,)),
    ("batch _ _", (1, 2, 3)), ("a a", (3, 3)), ("a #a", (3, 1)), ("#a a", (1, 3)), ("heads=4 d", (4, 7)),
    ("a b a*b", (2, 3, 6)), ("a a+1 2*a-1", (3, 4, 5)), ("{self.width} c", (9, 9)), ("*a *b", (1, 2, 3)),
    ("x y-1", (1, 100)),
]  # fmt: skip
DOES_NOT = [
    ("batch 64", (8, 32), Misfit("64", 64, 32, 1)),
    ("a a", (3, 4), Misfit("a", 3, 4, 1)),
    ("a b", (3,), Misfit("a b", 2, 1, None)),
    ("a ... b", (3,), Misfit("a ... b", 2, 1, None)),
    ("a #a", (3, 2), Misfit("#a", 3, 2, 1)),
    ("heads=4", (5,), Misfit("4", 4, 5, 0)),
    ("a b a*b", (2, 3, 5), Misfit("a*b", 6, 5, 2)),
    ("... c c", (9, 2, 3), Misfit("c", 2, 3, 2)),
]  # fmt: skip


@pytest.mark.parametrize(("names", "shape"), FITS)
def test_shapes_that_fit(names: str, shape: tuple[int, ...]) -> None:
    assert misfit(names, shape, {}) is None


@pytest.mark.parametrize(("names", "shape", "wrong"), DOES_NOT)
def test_shapes_that_do_not(names: str, shape: tuple[int, ...], wrong: Misfit) -> None:
    assert misfit(names, shape, {}) == wrong


def test_names_are_bound_across_arguments_of_one_call() -> None:
    bound: dict[str, int] = {}
    assert misfit("batch time", (4, 7), bound) is None
    assert misfit("batch time d", (4, 7, 3), bound) is None
    assert misfit("batch d", (5, 3), bound) == Misfit("batch", 4, 5, 0)
    assert bound == {"batch": 4, "time": 7, "d": 3}


@given(st.lists(st.integers(1, 9), max_size=5))
def test_a_shape_fits_its_own_sizes_and_no_other(shape: list[int]) -> None:
    assert misfit(" ".join(map(str, shape)), shape, {}) is None
    assert misfit(" ".join(f"d{i}" for i in range(len(shape))), shape, {}) is None
    assert misfit("...", shape, {}) is None
    for dim in range(len(shape)):
        other = [*shape[:dim], shape[dim] + 1, *shape[dim + 1 :]]
        assert misfit(" ".join(map(str, shape)), other, {}) == Misfit(str(shape[dim]), shape[dim], shape[dim] + 1, dim)
    assert misfit(" ".join(map(str, shape)), [*shape, 1], {}) is not None


@given(st.text(max_size=20), st.lists(st.integers(0, 9), max_size=4))
def test_any_text_is_read(names: str, shape: list[int]) -> None:
    misfit(names, shape, {})
