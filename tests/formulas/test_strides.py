"""Strides, contiguity, view or copy: PyTorch as oracle on permuted, sliced and expanded tensors."""

from __future__ import annotations

from itertools import product
from math import prod

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from formulas.strategies import factorised, shapes, shapes_with_zero, size, strided
from trainworthy.errors import ShapeError, UsageError
from trainworthy.formulas.strides import (
    channels_last_strides,
    contiguous_strides,
    element_offset,
    index_of_element,
    inferred_shape,
    is_channels_last,
    is_contiguous,
    is_dense,
    normal_index,
    permuted,
    reshape_strides,
    storage_elements,
    transposed,
    view_groups,
    view_strides,
)


def build(case: tuple[tuple[int, ...], tuple[int, ...], int]) -> torch.Tensor:
    shape, order, step = case
    tensor = torch.arange(prod(shape)).reshape(shape).permute(order)
    return tensor[::step] if shape else tensor


def test_golden_of_the_notes() -> None:
    # A (3, 4) matrix transposed shares its memory: strides (4, 1) become (1, 4), and it is no longer contiguous.
    assert transposed(shape=(3, 4), strides=(4, 1), dim0=0, dim1=1) == ((4, 3), (1, 4))
    assert not is_contiguous(shape=(4, 3), strides=(1, 4))
    assert view_strides(shape=(4, 3), strides=(1, 4), to=(12,)) is None
    # Docs of torch.Tensor.view: (4, 4) -> (16,), (-1, 8); a view of a contiguous tensor stays contiguous.
    assert view_strides(shape=(4, 4), strides=(4, 1), to=(-1, 8)) == (8, 1)


@settings(max_examples=250)
@given(shapes_with_zero)
def test_contiguous_strides_agree_with_torch(shape: tuple[int, ...]) -> None:
    assert contiguous_strides(shape=shape) == torch.empty(shape).stride()
    if prod(shape):
        numpy_strides = np.empty(shape, dtype=np.int8).strides
        assert contiguous_strides(shape=shape) == numpy_strides


@settings(max_examples=150)
@given(st.lists(size, min_size=4, max_size=5).map(tuple))
def test_channels_last_agrees_with_torch(shape: tuple[int, ...]) -> None:
    layout = torch.channels_last if len(shape) == 4 else torch.channels_last_3d
    tensor = torch.empty(shape, memory_format=layout)
    assert channels_last_strides(shape=shape) == tensor.stride()
    for other in (tensor, torch.empty(shape), tensor[:, :1], tensor.transpose(0, 1)):
        got = is_channels_last(shape=other.shape, strides=other.stride())
        assert got == other.is_contiguous(memory_format=layout)


@settings(max_examples=400)
@given(strided(zeros=True))
def test_contiguity_agrees_with_torch(case: tuple[tuple[int, ...], tuple[int, ...], int]) -> None:
    tensor = build(case)
    assert is_contiguous(shape=tensor.shape, strides=tensor.stride()) == tensor.is_contiguous()
    if tensor.numel():
        dense = torch._prims_common.is_non_overlapping_and_dense_or_false(tensor)
        assert is_dense(shape=tensor.shape, strides=tensor.stride()) == dense


@settings(max_examples=750)
@given(strided(), st.data())
def test_view_and_reshape_agree_with_torch(
    case: tuple[tuple[int, ...], tuple[int, ...], int], data: st.DataObject
) -> None:
    tensor = build(case)
    to = data.draw(factorised(tensor.numel()))
    strides = view_strides(shape=tensor.shape, strides=tensor.stride(), to=to)
    try:
        expected = tensor.view(to).stride()
    except RuntimeError:
        expected = None
    assert strides == expected
    reshaped, copied = reshape_strides(shape=tensor.shape, strides=tensor.stride(), to=to)
    actual = tensor.reshape(to)
    assert reshaped == actual.stride()
    assert copied == (actual.data_ptr() != tensor.data_ptr())
    groups = view_groups(shape=tensor.shape, strides=tensor.stride())
    assert prod(elements for elements, _ in groups) == tensor.numel()


@settings(max_examples=150)
@given(shapes, st.data())
def test_views_of_expanded_tensors(shape: tuple[int, ...], data: st.DataObject) -> None:
    tensor = torch.zeros([1 if data.draw(st.booleans()) else n for n in shape]).expand(shape)
    to = data.draw(factorised(tensor.numel()))
    try:
        expected = tensor.view(to).stride()
    except RuntimeError:
        expected = None
    assert view_strides(shape=shape, strides=tensor.stride(), to=to) == expected


@settings(max_examples=150)
@given(shapes_with_zero.filter(lambda shape: 0 in shape), shapes_with_zero.filter(lambda shape: 0 in shape))
def test_views_of_empty_tensors(shape: tuple[int, ...], to: tuple[int, ...]) -> None:
    tensor = torch.empty(shape)
    assert view_strides(shape=shape, strides=tensor.stride(), to=to) == tensor.view(to).stride()


@settings(max_examples=250)
@given(strided())
def test_every_element_is_where_it_is_said_to_be(case: tuple[tuple[int, ...], tuple[int, ...], int]) -> None:
    tensor = build(case)
    strides, offset = tensor.stride(), int(tensor.storage_offset())
    for index in list(product(*map(range, tensor.shape)))[:40]:
        at = element_offset(index=index, strides=strides, storage_offset=offset)
        assert torch.as_strided(tensor, (), (), at).item() == tensor[index].item()
        negative = tuple(i - n for i, n in zip(index, tensor.shape, strict=True))
        assert normal_index(index=negative, shape=tensor.shape) == index
    needed = storage_elements(shape=tensor.shape, strides=strides, storage_offset=offset)
    assert needed <= tensor.untyped_storage().nbytes() // 8
    last = tuple(n - 1 for n in tensor.shape)
    assert needed == element_offset(index=last, strides=strides, storage_offset=offset) + 1


@settings(max_examples=150)
@given(shapes.filter(lambda shape: len(shape) > 0), st.data())
def test_permute_and_transpose_agree_with_torch(shape: tuple[int, ...], data: st.DataObject) -> None:
    tensor = torch.empty(shape)
    order = data.draw(st.permutations(range(len(shape))))
    one, two = data.draw(st.tuples(*[st.integers(-len(shape), len(shape) - 1)] * 2))
    for actual, ours in (
        (tensor.permute(order), permuted(shape=shape, strides=tensor.stride(), order=order)),
        (tensor.transpose(one, two), transposed(shape=shape, strides=tensor.stride(), dim0=one, dim1=two)),
    ):
        assert ours == (tuple(actual.shape), actual.stride())


@settings(max_examples=150)
@given(shapes, st.data())
def test_positions_agree_with_numpy(shape: tuple[int, ...], data: st.DataObject) -> None:
    position = data.draw(st.integers(0, prod(shape) - 1))
    index = index_of_element(position=position, shape=shape)
    if shape:
        assert index == tuple(int(i) for i in np.unravel_index(position, shape))
    assert element_offset(index=index, strides=contiguous_strides(shape=shape)) == position


@settings(max_examples=200)
@given(shapes_with_zero, st.lists(st.integers(-1, 6), max_size=4).map(tuple))
def test_inferred_shapes_agree_with_torch(shape: tuple[int, ...], to: tuple[int, ...]) -> None:
    try:
        expected = tuple(torch.empty(shape).reshape(to).shape)
    except RuntimeError:
        with pytest.raises((ShapeError, UsageError)):
            inferred_shape(shape=shape, to=to)
    else:
        assert inferred_shape(shape=shape, to=to) == expected


def test_wrong_arguments() -> None:
    with pytest.raises(UsageError, match="channels_last needs"):
        channels_last_strides(shape=(2, 3))
    with pytest.raises(UsageError, match="2 sizes, but there are 1 strides"):
        is_contiguous(shape=(2, 3), strides=(1,))
    with pytest.raises(UsageError, match="each of the 2 dimensions once"):
        permuted(shape=(2, 3), strides=(3, 1), order=(0, 0))
    with pytest.raises(UsageError, match="dimension 2 does not exist in 2 dimensions"):
        permuted(shape=(2, 3), strides=(3, 1), order=(0, 2))
    with pytest.raises(ShapeError, match="6 elements, \\(4,\\) has 4"):
        view_strides(shape=(2, 3), strides=(3, 1), to=(4,))
    with pytest.raises(ShapeError, match="ambiguous"):
        inferred_shape(shape=(0, 3), to=(0, -1))
    with pytest.raises(UsageError, match="Only one size"):
        inferred_shape(shape=(2, 3), to=(-1, -1))
    with pytest.raises(ShapeError, match="out of range for dimension 1 of size 3"):
        normal_index(index=(0, 3), shape=(2, 3))
    with pytest.raises(ShapeError, match="Position 6"):
        index_of_element(position=6, shape=(2, 3))
    with pytest.raises(UsageError, match="3 indices"):
        element_offset(index=(1, 2, 3), strides=(1, 1))
