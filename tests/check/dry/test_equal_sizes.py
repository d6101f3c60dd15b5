"""What a step that fails with one size changed proves, and what it does not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainworthy.check.dry.equal_sizes import Again, meets, of_moves, smaller

ELEMENTWISE = [
    ([[7, 10], [7]], True),  # logits (batch, class) times weights of samples
    ([[10], [7]], False),  # a batch size that is written somewhere
    ([[1, 10, 16], [1, 7, 16]], False),  # a state made for a batch of 10
    ([[7, 4, 10], [7, 10, 1]], False),  # nothing meets the changed size
    ([[7, 10, 3], [7, 7, 3]], True),
    ([[7, 10, 3], [7, 7, 5]], False),  # something else is wrong here, too
]


@pytest.mark.parametrize(("shapes", "expected"), ELEMENTWISE)
def test_an_operand_has_to_show_both_sizes(shapes: list[list[int]], expected: bool) -> None:
    assert meets({"op": "mul.Tensor", "shapes": shapes}, 10, 7) is expected
    assert meets({"op": "mul.Tensor", "shapes": shapes[::-1]}, 10, 7) is expected


def test_products_meet_in_their_inner_dimensions() -> None:
    assert meets({"op": "mm.default", "shapes": [[7, 10], [7, 10]]}, 10, 7)
    assert not meets({"op": "addmm.default", "shapes": [[5], [3, 7], [10, 5]]}, 10, 7)
    assert not meets({"op": "mm.default", "shapes": [[7, 10]]}, 10, 7)


@given(st.integers(-1, 300), st.sets(st.integers(0, 300)))
def test_another_size_is_smaller_and_free(size: int, taken: set[int]) -> None:
    found = smaller(size, taken)
    if found is None:
        assert all(n in taken for n in range(3, size))
    else:
        assert 2 < found < size
        assert found not in taken


def ends(step: Any) -> Any:
    """Return ``again`` for a step that takes the shapes of the tensors that move."""

    def again(resize: dict[str, Any]) -> Again:
        shapes = {move["line"]: list(move["shape"]) for move in MOVES}
        for line, shape, dim, size in resize["moved"]:
            if shapes[line] == shape:
                shapes[line][dim] = size
        return Again(None if step(*shapes.values()) else {"kind": "exception", "message": "no"}, {})

    return again


MOVES = [{"line": "ids", "shape": [16, 16], "steps": [1, 2]}, {"line": "mask", "shape": [16, 16], "steps": [1, 2]}]


def test_a_step_is_blamed_only_if_no_reading_of_the_dimensions_works() -> None:
    def good(ids: Any, mask: Any) -> bool:
        return bool(ids == mask)

    def transposed(ids: Any, mask: Any) -> bool:  # the mask may be (time, batch)
        return bool(ids == mask[::-1])

    def crossed(ids: Any, mask: Any) -> bool:
        return bool(ids == mask == ids[::-1])

    def written(ids: Any, mask: Any) -> bool:  # only ever works for 16
        return bool(ids == mask == [16, 16])

    found = {step.__name__: list(of_moves(MOVES, {16}, ends(step))) for step in (good, transposed, crossed, written)}
    assert [name for name, notes in found.items() if notes] == ["crossed"]
    assert (found["crossed"][0]["size"], found["crossed"][0]["changed"]) == (16, 13)
