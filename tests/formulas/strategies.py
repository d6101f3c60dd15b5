"""Cases that the tests of formulas draw."""

from __future__ import annotations

from hypothesis import strategies as st

size = st.integers(min_value=1, max_value=6)
size_or_zero = st.integers(min_value=0, max_value=5)
shapes = st.lists(size, min_size=0, max_size=4).map(tuple)
shapes_with_zero = st.lists(size_or_zero, min_size=0, max_size=4).map(tuple)


@st.composite
def broadcastable(draw: st.DrawFn, min_operands: int = 1) -> list[tuple[int, ...]]:
    """Draw shapes that go together: a result, with dimensions set to 1 or cut off on the left."""
    result = draw(shapes_with_zero)
    operands = []
    for _ in range(draw(st.integers(min_operands, 4))):
        kept = [1 if draw(st.booleans()) else n for n in result]
        operands.append(tuple(kept[draw(st.integers(0, len(kept))) :]))
    return operands


@st.composite
def strided(draw: st.DrawFn, zeros: bool = False) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """Draw the shape of a base tensor, an order of its dimensions, and a step to slice the first of them by."""
    shape = draw(shapes_with_zero if zeros else shapes)
    order = draw(st.permutations(range(len(shape))))
    return shape, tuple(order), draw(st.integers(1, 3))


@st.composite
def factorised(draw: st.DrawFn, total: int) -> tuple[int, ...]:
    """Draw a shape of ``total`` elements, with dimensions of size 1 among them."""
    out: list[int] = []
    left = total
    while left > 1:
        divisor = draw(st.sampled_from([d for d in range(2, left + 1) if left % d == 0]))
        out.append(divisor)
        left //= divisor
    for _ in range(draw(st.integers(0, 2))):
        out.insert(draw(st.integers(0, len(out))), 1)
    return tuple(out)
