"""Broadcasting against NumPy and PyTorch, the worked examples of the NumPy guide, and its laws."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from formulas.strategies import broadcastable, shapes_with_zero
from trainworthy.errors import ShapeError, UsageError
from trainworthy.formulas.broadcast import (
    aligned_dims,
    broadcast_shape,
    broadcast_strides,
    crossed_dims,
    meet_as_row_and_column,
    read_counts,
    summed_dims,
)
from trainworthy.formulas.strides import contiguous_strides

# NumPy user guide, "Broadcasting", general broadcasting rules.
GUIDE = [
    ([(256, 256, 3), (3,)], (256, 256, 3)),
    ([(8, 1, 6, 1), (7, 1, 5)], (8, 7, 6, 5)),
    ([(5, 4), (1,)], (5, 4)),
    ([(5, 4), (4,)], (5, 4)),
    ([(15, 3, 5), (15, 1, 5)], (15, 3, 5)),
    ([(15, 3, 5), (3, 5)], (15, 3, 5)),
    ([(15, 3, 5), (3, 1)], (15, 3, 5)),
]


@pytest.mark.parametrize(("shapes", "result"), GUIDE)
def test_worked_examples_of_the_numpy_guide(shapes: list[tuple[int, ...]], result: tuple[int, ...]) -> None:
    assert broadcast_shape(shapes=shapes) == result


@pytest.mark.parametrize(("shapes", "dim"), [([(3,), (4,)], -1), ([(2, 1), (8, 4, 3)], -2)])
def test_mismatches_of_the_numpy_guide(shapes: list[tuple[int, ...]], dim: int) -> None:
    with pytest.raises(ShapeError, match=f"in dimension {dim} the sizes are"):
        broadcast_shape(shapes=shapes)


@settings(max_examples=300)
@given(st.lists(shapes_with_zero, min_size=1, max_size=4))
def test_agrees_with_numpy_and_torch(shapes: list[tuple[int, ...]]) -> None:
    try:
        expected = np.broadcast_shapes(*shapes)
    except ValueError:
        with pytest.raises(ShapeError):
            broadcast_shape(shapes=shapes)
        with pytest.raises(RuntimeError):
            torch.broadcast_shapes(*shapes)
    else:
        assert broadcast_shape(shapes=shapes) == expected == tuple(torch.broadcast_shapes(*shapes))


@settings(max_examples=200)
@given(broadcastable())
def test_laws(shapes: list[tuple[int, ...]]) -> None:
    result = broadcast_shape(shapes=shapes)
    assert broadcast_shape(shapes=list(reversed(shapes))) == result
    assert broadcast_shape(shapes=[result, *shapes]) == result
    pairwise = shapes[0]
    for shape in shapes[1:]:
        pairwise = broadcast_shape(shapes=[pairwise, shape])
    assert pairwise == result
    for shape, reads in zip(shapes, read_counts(shapes=shapes), strict=True):
        assert reads * prod(shape) == prod(result) or prod(result) == 0
    dims = aligned_dims(shapes=shapes)
    assert [dim.dim for dim in dims] == [-1 - at for at in range(len(result))]
    assert tuple(dim.result for dim in reversed(dims)) == result


@settings(max_examples=200)
@given(broadcastable(min_operands=2))
def test_strides_and_gradient_agree_with_torch(shapes: list[tuple[int, ...]]) -> None:
    result = broadcast_shape(shapes=shapes)
    for shape in shapes:
        tensor = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
        view = tensor.expand(result)
        strides = broadcast_strides(shape=shape, strides=contiguous_strides(shape=shape), to=result)
        if prod(result):
            assert strides == view.stride()
            assert view.data_ptr() == tensor.data_ptr()
        summed = summed_dims(shape=shape, to=result)
        values = torch.randn(result, dtype=torch.float64)
        (grad,) = torch.autograd.grad(view, tensor, values)
        by_hand = values.sum(dim=summed, keepdim=True) if summed else values
        assert torch.allclose(by_hand.reshape(shape), grad)


def test_row_and_column() -> None:
    assert meet_as_row_and_column(shapes=[(64, 1), (64,)])
    assert meet_as_row_and_column(shapes=[(1, 5), (3, 1)])
    assert not meet_as_row_and_column(shapes=[(64, 1), (64, 1)])
    assert not meet_as_row_and_column(shapes=[(64,), (64, 64)])
    assert not meet_as_row_and_column(shapes=[(3, 1), (1, 4), (1, 4)])
    assert crossed_dims(shapes=[(8, 1, 6, 1), (7, 1, 5)]) == (-4, -3, -2, -1)
    assert crossed_dims(shapes=[(), (3, 1)]) == ()


@settings(max_examples=150)
@given(st.integers(2, 40), st.integers(2, 40))
def test_a_loss_of_row_and_column_is_what_torch_warns_of(n: int, m: int) -> None:
    shapes = [(n, 1), (m,)]
    assert meet_as_row_and_column(shapes=shapes)
    with pytest.warns(UserWarning, match="target size"):
        torch.nn.functional.mse_loss(torch.zeros(shapes[0]), torch.zeros(shapes[1]))


@pytest.mark.parametrize("shapes", [[], [(-1, 2)], [(1.5,)], [("a",)], [(2**70,)], [(True,)]])
def test_what_is_no_shape(shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(UsageError):
        broadcast_shape(shapes=shapes)


def test_cannot_be_expanded() -> None:
    with pytest.raises(ShapeError, match="cannot be expanded"):
        broadcast_strides(shape=(2, 3), strides=(3, 1), to=(3,))
    with pytest.raises(ShapeError, match="do not broadcast"):
        broadcast_strides(shape=(2,), strides=(1,), to=(3,))
