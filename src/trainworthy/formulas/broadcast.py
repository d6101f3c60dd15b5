"""Broadcasting: which shapes meet, how each is stretched, and which dimension fails.

Source of every rule: NumPy user guide, "Broadcasting", general broadcasting rules
(https://numpy.org/doc/stable/user/basics.broadcasting.html), which PyTorch follows
(https://docs.pytorch.org/docs/stable/notes/broadcasting.html). Compared from the right, two sizes go together if they
are equal or one of them is 1; a missing dimension counts as 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from trainworthy.errors import ShapeError, UsageError
from trainworthy.formulas.checks import Shape, shape_text, whole_shape


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignedDim:
    """One dimension of the result, and what each operand has there.

    Attributes:
        dim: Counted from the right: -1 is the last.
        sizes: The size in each operand; None where the operand has too few dimensions.
        result: The size of the result; None if the sizes do not go together.
    """

    dim: int
    sizes: tuple[int | None, ...]
    result: int | None

    @property
    def stretched(self) -> tuple[bool, ...]:
        """Tell which operands are repeated along this dimension."""
        return tuple(size in (None, 1) and self.result not in (None, 1) for size in self.sizes)


def aligned_dims(*, shapes: Sequence[Sequence[int]]) -> tuple[AlignedDim, ...]:
    """Align shapes at the right; the dimensions are listed from the right, as the rule reads them.

    Shapes:   any number of operands
    Exact?    yes
    Source:   NumPy user guide, general broadcasting rules

    >>> [(d.dim, d.sizes, d.result) for d in aligned_dims(shapes=[(2, 3), (4,)])]
    [(-1, (3, 4), None), (-2, (2, None), 2)]

    Raises:
        UsageError: If there is no operand, or an entry is no size.
    """
    if not shapes:
        raise UsageError("There is no shape to broadcast.")
    checked = [whole_shape("a shape", shape) for shape in shapes]
    found = []
    for dim in range(1, max(map(len, checked)) + 1):
        sizes = tuple(shape[-dim] if dim <= len(shape) else None for shape in checked)
        wanted = {size for size in sizes if size not in (None, 1)}
        result = None if len(wanted) > 1 else wanted.pop() if wanted else 1
        found.append(AlignedDim(dim=-dim, sizes=sizes, result=result))
    return tuple(found)


def broadcast_shape(*, shapes: Sequence[Sequence[int]]) -> Shape:
    """Return the shape that all operands are stretched to.

    Shapes:   any number of operands -> result
    Exact?    yes
    Source:   NumPy user guide, general broadcasting rules; agrees with numpy.broadcast_shapes

    >>> broadcast_shape(shapes=[(8, 1, 6, 1), (7, 1, 5)])
    (8, 7, 6, 5)
    >>> broadcast_shape(shapes=[(4, 3, 2), (2, 2)])
    Traceback (most recent call last):
    ...
    trainworthy.errors.ShapeError: (4, 3, 2) and (2, 2) do not broadcast: in dimension -2 the sizes are 3 and 2.
      fix:   Sizes must be equal or 1. To add a dimension of size 1, write x.unsqueeze(dim) or x[:, None].

    Raises:
        ShapeError: If two operands differ in a dimension in which neither is 1.
    """
    dims = aligned_dims(shapes=shapes)
    for dim in dims:
        if dim.result is None:
            raise ShapeError(
                failure(shapes=shapes, dim=dim),
                fix="Sizes must be equal or 1. To add a dimension of size 1, write x.unsqueeze(dim) or x[:, None].",
            )
    return tuple(dim.result or 0 for dim in reversed(dims))


def failure(*, shapes: Sequence[Sequence[int]], dim: AlignedDim) -> str:
    """Say in one sentence why ``dim`` does not broadcast.

    >>> failure(shapes=[(3,), (2, 4)], dim=aligned_dims(shapes=[(3,), (2, 4)])[0])
    '(3,) and (2, 4) do not broadcast: in dimension -1 the sizes are 3 and 4.'
    """
    listed = [shape_text(shape) for shape in shapes]
    sizes = [str(size) for size in dim.sizes if size is not None]
    return (
        f"{', '.join(listed[:-1])} and {listed[-1]} do not broadcast: in dimension {dim.dim} the sizes are "
        f"{', '.join(sizes[:-1])} and {sizes[-1]}."
    )


def read_counts(*, shapes: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Return how many times each operand's elements are read.

    Unit:     times
    Exact?    yes; 0 if the result is empty
    Source:   elements of the result over elements of the operand

    >>> read_counts(shapes=[(8, 1, 6, 1), (7, 1, 5)])
    (35, 48)
    """
    total = prod(broadcast_shape(shapes=shapes))
    return tuple(total // prod(shape) if total else 0 for shape in shapes)


def broadcast_strides(*, shape: Sequence[int], strides: Sequence[int], to: Sequence[int]) -> Shape:
    """Return the strides of a view of shape ``to``: 0 along every stretched dimension, so nothing is copied.

    Shapes:   (shape) -> (to)
    Unit:     elements
    Exact?    yes
    Source:   ATen/ExpandUtils.cpp, inferExpandGeometry (torch 2.13); a new dimension has the stride that it would
              have if it were contiguous, which no element uses

    >>> broadcast_strides(shape=(3, 1), strides=(1, 1), to=(2, 3, 4))
    (0, 1, 0)
    >>> broadcast_strides(shape=(), strides=(), to=(5,))
    (0,)

    Raises:
        ShapeError: If ``shape`` cannot be stretched to ``to``.
    """
    if len(to) < len(shape) or broadcast_shape(shapes=[shape, to]) != tuple(to):
        raise ShapeError(f"{shape_text(shape)} cannot be expanded to {shape_text(to)}.")
    if not shape:
        return (0,) * len(to)
    missing = len(to) - len(shape)
    out: list[int] = []
    for at in reversed(range(len(to))):
        inside = at >= missing
        size = shape[at - missing] if inside else 1
        stride = strides[at - missing] if inside else to[at + 1] * out[-1]
        out.append(0 if size == 1 and to[at] != 1 else stride)
    return tuple(reversed(out))


def summed_dims(*, shape: Sequence[int], to: Sequence[int]) -> Shape:
    """Return the dimensions of the result over which the gradient is summed to get back to ``shape``.

    Exact?    yes
    Source:   the derivative of repetition is a sum (ATen/ExpandUtils.h, sum_to_size)

    >>> summed_dims(shape=(3, 1), to=(2, 3, 4))
    (0, 2)
    """
    missing = len(to) - len(shape)
    return tuple(at for at, size in enumerate(to) if at < missing or (shape[at - missing] == 1 and size != 1))


def crossed_dims(*, shapes: Sequence[Sequence[int]]) -> Shape:
    """Return, counted from the right, the dimensions that one operand lacks while another is stretched elsewhere.

    If it is not empty, no operand has the shape of the result: every one was repeated. Two vectors that meet as a row
    and a column do this and give a matrix; in a loss that is nearly always a missing ``squeeze``.

    Exact?    yes
    Source:   PyTorch warns of the same case in mse_loss ("Using a target size that is different to the input size")

    >>> crossed_dims(shapes=[(64, 1), (64,)])
    (-2, -1)
    >>> crossed_dims(shapes=[(64, 10), (10,)])
    ()
    """
    result = broadcast_shape(shapes=shapes)
    if any(tuple(shape) == result or prod(shape) == prod(result) for shape in shapes):
        return ()
    return tuple(dim.dim for dim in reversed(aligned_dims(shapes=shapes)) if any(dim.stretched))


def meet_as_row_and_column(*, shapes: Sequence[Sequence[int]]) -> bool:
    """Tell whether two vectors meet as row and column, so that they give a matrix.

    A vector has one dimension larger than 1, whatever dimensions of size 1 are beside it.

    Exact?    yes
    Source:   NumPy user guide, "Broadcasting", the outer sum of a[:, newaxis] and b

    >>> meet_as_row_and_column(shapes=[(64, 1), (64,)]), meet_as_row_and_column(shapes=[(64, 1), (1,)])
    (True, False)
    """
    if len(shapes) != 2 or any(sum(size != 1 for size in shape) != 1 for shape in shapes):
        return False
    return len(crossed_dims(shapes=shapes)) == 2


def doubly_expanded(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the shape that two shapes of different rank broadcast to, if both of them grow; else None.

    >>> doubly_expanded((64, 1), (64,))
    (64, 64)
    >>> doubly_expanded((64, 10), (10,)) is None
    True
    """
    rank = max(len(a), len(b))
    left = (1,) * (rank - len(a)) + a
    right = (1,) * (rank - len(b)) + b
    if len(a) == len(b) or any(x != y and 1 not in (x, y) for x, y in zip(left, right, strict=True)):
        return None
    out = tuple(y if x == 1 else x for x, y in zip(left, right, strict=True))
    return None if out in (left, right) else out
