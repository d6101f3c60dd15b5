"""Strides: where an element lies in memory, what a view changes, and when a copy cannot be avoided.

Element ``[i, j, ...]`` of a tensor lies ``offset + i * stride[0] + j * stride[1] + ...`` elements into its storage.
Transposing, slicing, expanding and viewing change shape, strides and offset, never the storage.
Unit of strides and offsets: elements, as in PyTorch (NumPy counts bytes).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from trainworthy.errors import ShapeError, UsageError
from trainworthy.formulas.checks import Shape, shape_text, whole, whole_dim, whole_shape

_LAYOUTS = {4: (0, 2, 3, 1), 5: (0, 2, 3, 4, 1)}  # channels_last, channels_last_3d: the order in memory


def contiguous_strides(*, shape: Sequence[int]) -> Shape:
    """Return the strides of a row-major tensor: the last index runs fastest.

    Unit:     elements
    Exact?    yes
    Source:   c10/util/strides.h, contiguous_strides (torch 2.13): ``stride[i] = stride[i + 1] * max(size[i + 1], 1)``

    >>> contiguous_strides(shape=(2, 3, 4)), contiguous_strides(shape=(2, 0, 3))
    ((12, 4, 1), (3, 3, 1))
    """
    stride, out = 1, []
    for size in reversed(whole_shape("the shape", shape)):
        out.append(stride)
        stride *= max(size, 1)
    return tuple(reversed(out))


def channels_last_strides(*, shape: Sequence[int]) -> Shape:
    """Return the strides of (N, C, H, W) or (N, C, D, H, W) kept with the channels of a pixel side by side.

    Shapes:   (N, C, H, W) or (N, C, D, H, W); the shape stays so, only the order in memory is N, (D,) H, W, C
    Unit:     elements
    Exact?    yes
    Source:   c10/core/MemoryFormat.h, get_channels_last_strides_2d and _3d (torch 2.13)

    >>> channels_last_strides(shape=(1, 64, 5, 4))
    (1280, 1, 256, 64)

    Raises:
        UsageError: If there are not 4 or 5 dimensions.
    """
    checked = whole_shape("the shape", shape)
    order = _LAYOUTS.get(len(checked))
    if order is None:
        raise UsageError(f"channels_last needs (N, C, H, W) or (N, C, D, H, W), got {shape_text(shape)}.")
    out, stride = [0] * len(checked), 1
    for dim in reversed(order):
        out[dim] = stride
        stride *= checked[dim] if dim else 1
    return tuple(out)


def is_contiguous(*, shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Tell whether reading index by index, the last one fastest, reads memory in order and without gaps.

    Exact?    yes
    Source:   c10/core/Contiguity.h, _compute_contiguous (torch 2.13): the stride of a dimension of size 1 does not
              count, and an empty tensor is contiguous

    >>> is_contiguous(shape=(2, 3), strides=(3, 1)), is_contiguous(shape=(3, 2), strides=(1, 3))
    (True, False)
    >>> is_contiguous(shape=(1, 3), strides=(99, 1))
    True
    """
    _same_length(shape, strides)
    return 0 in shape or _dense_in_order(shape, strides, range(len(shape)))


def is_channels_last(*, shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Tell whether memory runs in the order N, H, W, C without gaps.

    Exact?    yes; ``Tensor.is_contiguous(memory_format=torch.channels_last)``. A tensor can be both this and
              contiguous, such as one with a single channel
    Source:   c10/core/Contiguity.h, _compute_channels_last_contiguous_2d and _3d (torch 2.13)

    >>> is_channels_last(shape=(1, 64, 5, 4), strides=(1280, 1, 256, 64))
    True
    >>> is_channels_last(shape=(2, 1, 5, 4), strides=(20, 20, 4, 1))
    True
    """
    _same_length(shape, strides)
    order = _LAYOUTS.get(len(shape))
    return order is not None and _dense_in_order(shape, strides, order)


def is_dense(*, shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Tell whether the elements fill a block of memory once, in whatever order of dimensions.

    Exact?    yes; what PyTorch calls non-overlapping and dense. ``torch.empty_like`` keeps such strides
    Source:   c10/core/Contiguity.h, _compute_non_overlapping_and_dense (torch 2.13)

    >>> is_dense(shape=(3, 2), strides=(1, 3)), is_dense(shape=(3, 2), strides=(4, 1))
    (True, False)
    """
    _same_length(shape, strides)
    long_dims = [dim for dim, size in enumerate(shape) if size >= 2]
    return 0 in shape or _dense_in_order(shape, strides, sorted(long_dims, key=lambda dim: -strides[dim]))


def element_offset(*, index: Sequence[int], strides: Sequence[int], storage_offset: int = 0) -> int:
    """Return where an element lies in its storage.

    Unit:     elements
    Exact?    yes
    Source:   the definition of a stride (https://docs.pytorch.org/docs/stable/generated/torch.Tensor.stride.html)

    >>> element_offset(index=(1, 2, 3), strides=(12, 4, 1))
    23
    """
    if len(index) != len(strides):
        raise UsageError(f"{len(index)} indices {tuple(index)} for {len(strides)} dimensions.")
    return storage_offset + sum(at * stride for at, stride in zip(index, strides, strict=True))


def normal_index(*, index: Sequence[int], shape: Sequence[int]) -> Shape:
    """Return an index with every entry counted from the start.

    Exact?    yes
    Source:   Python's rule of negative indices

    >>> normal_index(index=(-1, 0), shape=(3, 4))
    (2, 0)

    Raises:
        ShapeError: If an entry is out of range, or there are more or fewer than dimensions.
    """
    if len(index) != len(shape):
        raise ShapeError(f"The index {tuple(index)} has {len(index)} entries, {shape_text(shape)} {len(shape)}.")
    for dim, (at, size) in enumerate(zip(index, shape, strict=True)):
        if not -size <= at < size:
            raise ShapeError(f"Index {at} is out of range for dimension {dim} of size {size}.")
    return tuple(at % size for at, size in zip(index, shape, strict=True))


def index_of_element(*, position: int, shape: Sequence[int]) -> Shape:
    """Return the index of the element that comes at ``position`` when a tensor is read row by row.

    Exact?    yes
    Source:   agrees with numpy.unravel_index and torch.unravel_index

    >>> index_of_element(position=23, shape=(2, 3, 4))
    (1, 2, 3)

    Raises:
        ShapeError: If there is no such position.
    """
    if not 0 <= position < prod(shape):
        raise ShapeError(f"Position {position} does not exist in {shape_text(shape)}, {prod(shape)} elements.")
    out = []
    for size in reversed(shape):
        position, at = divmod(position, size)
        out.append(at)
    return tuple(reversed(out))


def storage_elements(*, shape: Sequence[int], strides: Sequence[int], storage_offset: int = 0) -> int:
    """Return how many elements a storage must have at least.

    Unit:     elements
    Exact?    yes
    Source:   ATen/EmptyTensor.cpp, computeStorageNbytes (torch 2.13): ``1 + sum((size - 1) * stride)``; 0 if empty

    >>> storage_elements(shape=(2, 3), strides=(4, 1)), storage_elements(shape=(0, 3), strides=(3, 1))
    (7, 0)
    """
    _same_length(shape, strides)
    if 0 in shape:
        return 0
    return storage_offset + 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))


def permuted(*, shape: Sequence[int], strides: Sequence[int], order: Sequence[int]) -> tuple[Shape, Shape]:
    """Return shape and strides with the dimensions in another order; the storage stays.

    Shapes:   dimension ``order[i]`` of the input is dimension i of the output
    Exact?    yes
    Source:   torch.permute, numpy.transpose

    >>> permuted(shape=(2, 3, 4), strides=(12, 4, 1), order=(2, 0, 1))
    ((4, 2, 3), (1, 12, 4))

    Raises:
        UsageError: If ``order`` does not name every dimension once.
    """
    _same_length(shape, strides)
    dims = [whole_dim("dimension", dim, num_dims=len(shape)) for dim in order]
    if sorted(dims) != list(range(len(shape))):
        raise UsageError(f"The order {tuple(order)} must name each of the {len(shape)} dimensions once.")
    return tuple(shape[dim] for dim in dims), tuple(strides[dim] for dim in dims)


def transposed(*, shape: Sequence[int], strides: Sequence[int], dim0: int, dim1: int) -> tuple[Shape, Shape]:
    """Return shape and strides with two dimensions exchanged; the storage stays.

    Exact?    yes
    Source:   torch.transpose, numpy.swapaxes

    >>> transposed(shape=(3, 4), strides=(4, 1), dim0=0, dim1=1)
    ((4, 3), (1, 4))
    """
    order = list(range(len(shape)))
    one, two = (whole_dim("dimension", dim, num_dims=len(shape)) for dim in (dim0, dim1))
    order[one], order[two] = two, one
    return permuted(shape=shape, strides=strides, order=order)


def inferred_shape(*, shape: Sequence[int], to: Sequence[int]) -> Shape:
    """Fill in the one -1 of ``to``, and check that both shapes have the same number of elements.

    Exact?    yes
    Source:   ATen/InferSize.h, infer_size (torch 2.13)

    >>> inferred_shape(shape=(2, 3, 4), to=(-1, 6))
    (4, 6)

    Raises:
        ShapeError: If the elements do not fit, or the -1 could be any number.
        UsageError: If there are two -1 or other negative sizes.
    """
    total = prod(whole_shape("the shape", shape))
    wanted = [whole(f"size {at} of the new shape", size, minimum=-1) for at, size in enumerate(to)]
    if wanted.count(-1) > 1:
        raise UsageError(f"Only one size can be -1, got {shape_text(to)}.")
    known = prod(size for size in wanted if size != -1)
    if -1 in wanted:
        if known == 0:
            raise ShapeError(f"The -1 in {shape_text(to)} is ambiguous: the other sizes multiply to 0.")
        if total % known:
            raise ShapeError(
                f"{shape_text(shape)} has {total:,} elements, not a multiple of {known:,}: {shape_text(to)} cannot be."
            )
        wanted[wanted.index(-1)] = total // known
    elif known != total:
        raise ShapeError(f"{shape_text(shape)} has {total:,} elements, {shape_text(to)} has {known:,}.")
    return tuple(wanted)


def view_strides(*, shape: Sequence[int], strides: Sequence[int], to: Sequence[int]) -> Shape | None:
    """Return the strides of a view of shape ``to`` on the same memory; None if only a copy can have that shape.

    ``Tensor.view`` raises where this is None; ``reshape`` copies. Dimensions of the input are grouped while
    ``stride[i] == size[i + 1] * stride[i + 1]`` (they can be walked as one); a view may split a group and may merge
    within it, never across two groups.

    Shapes:   (shape) -> (to), one size of which may be -1
    Unit:     elements
    Exact?    yes
    Source:   ATen/TensorUtils.cpp, computeStride (torch 2.13); docs of torch.Tensor.view

    >>> view_strides(shape=(2, 3, 4), strides=(12, 4, 1), to=(6, 4))
    (4, 1)
    >>> view_strides(shape=(3, 2), strides=(1, 3), to=(6,)) is None
    True

    Raises:
        ShapeError: If the number of elements differs.
    """
    _same_length(shape, strides)
    wanted = inferred_shape(shape=shape, to=to)
    if 0 in shape:
        return tuple(strides) if wanted == tuple(shape) else contiguous_strides(shape=wanted)
    out: list[int] = []
    left = list(reversed(wanted))
    for elements, stride in reversed(view_groups(shape=shape, strides=strides)):
        taken = 1
        while left and (taken < elements or left[0] == 1):
            out.append(taken * stride)
            taken *= left.pop(0)
        if taken != elements:
            return None
    return tuple(reversed(out))


def view_groups(*, shape: Sequence[int], strides: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Return the groups of dimensions that can be walked with one stride, each as (elements, innermost stride).

    Unit:     elements
    Exact?    yes
    Source:   ATen/TensorUtils.cpp, computeStride (torch 2.13); dimensions of size 1 belong to any group

    >>> view_groups(shape=(2, 3, 4), strides=(12, 4, 1)), view_groups(shape=(3, 2), strides=(1, 3))
    (((24, 1),), ((3, 1), (2, 3)))
    """
    _same_length(shape, strides)
    groups: list[tuple[int, int]] = []
    for size, stride in reversed(list(zip(shape, strides, strict=True))):
        if not groups:
            groups.append((size, stride))
        elif size == 1 or stride == groups[-1][0] * groups[-1][1]:
            groups[-1] = (groups[-1][0] * size, groups[-1][1])
        else:
            groups.append((size, stride))
    return tuple(reversed(groups)) or ((1, 1),)


def reshape_strides(*, shape: Sequence[int], strides: Sequence[int], to: Sequence[int]) -> tuple[Shape, bool]:
    """Return the strides after ``reshape`` and whether the elements were copied.

    Exact?    yes
    Source:   ATen/native/TensorShape.cpp, reshape (torch 2.13): a view where that is possible, else a contiguous copy

    >>> reshape_strides(shape=(3, 2), strides=(1, 3), to=(6,))
    ((1,), True)
    """
    found = view_strides(shape=shape, strides=strides, to=to)
    if found is not None:
        return found, False
    return contiguous_strides(shape=inferred_shape(shape=shape, to=to)), True


def _dense_in_order(shape: Sequence[int], strides: Sequence[int], order: Sequence[int]) -> bool:
    """Tell whether strides are those of memory filled in ``order``, the last dimension fastest."""
    expected = 1
    for dim in reversed(order):
        if shape[dim] != 1:
            if strides[dim] != expected:
                return False
            expected *= shape[dim]
    return True


def _same_length(shape: Sequence[int], strides: Sequence[int]) -> None:
    if len(shape) != len(strides):
        raise UsageError(f"{shape_text(shape)} has {len(shape)} sizes, but there are {len(strides)} strides.")
