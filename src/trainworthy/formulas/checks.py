"""Checks that the formulas share: is this a size, a shape, a dimension?

A formula is asked by people, so a wrong argument is a `UsageError` that names it and its value, never an assertion.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import index as as_index

from trainworthy.errors import UsageError

LARGEST_SIZE = 2**63 - 1  # sizes and strides are signed 64-bit integers in PyTorch and in NumPy

Shape = tuple[int, ...]


def whole(name: str, value: object, *, minimum: int = 0) -> int:
    """Return ``value`` as an int of at least ``minimum``.

    >>> whole("kernel", 3, minimum=1)
    3

    Raises:
        UsageError: If it is no whole number, too small, or beyond 64 bits.
    """
    try:
        number = as_index(value)  # type: ignore[arg-type]  # that is the question
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise UsageError(f"{name} must be a whole number, got {value!r}.")
    if number < minimum:
        raise UsageError(f"{name} must be at least {minimum}, got {number}.")
    if number > LARGEST_SIZE:
        raise UsageError(f"{name} is {number:.4g}, more than a 64-bit size can hold (2**63 - 1).")
    return int(number)


def whole_shape(name: str, shape: Sequence[int]) -> Shape:
    """Return ``shape`` as a tuple of sizes, each at least 0.

    >>> whole_shape("a", [8, 1])
    (8, 1)

    Raises:
        UsageError: If an entry is no size.
    """
    return tuple(whole(f"size {at} of {name}", size) for at, size in enumerate(shape))


def whole_dim(name: str, dim: int, *, num_dims: int) -> int:
    """Return ``dim`` counted from 0; negative ones count from the end.

    >>> whole_dim("dim", -1, num_dims=3)
    2

    Raises:
        UsageError: If there is no such dimension.
    """
    number = whole(name, dim, minimum=-LARGEST_SIZE)
    if not -num_dims <= number < num_dims:
        known = f"{-num_dims} to {num_dims - 1}" if num_dims else "none: a scalar has no dimensions"
        raise UsageError(f"{name} {number} does not exist in {num_dims} dimensions (there are {known}).")
    return number % num_dims


def per_axis(name: str, value: int | Sequence[int], *, num_axes: int, minimum: int = 0) -> Shape:
    """Spread one number over all axes, or check that there is one for each.

    >>> per_axis("stride", 2, num_axes=3), per_axis("kernel", (3, 5), num_axes=2)
    ((2, 2, 2), (3, 5))

    Raises:
        UsageError: If the number of entries is not the number of axes, or an entry is no size.
    """
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        return (whole(name, value, minimum=minimum),) * num_axes
    if len(value) != num_axes:
        raise UsageError(f"{name} has {len(value)} entries {tuple(value)}, but there are {num_axes} spatial axes.")
    return tuple(whole(name, entry, minimum=minimum) for entry in value)


def shape_text(shape: Sequence[int]) -> str:
    """Write a shape as Python does.

    >>> shape_text((8,)), shape_text([2, 3]), shape_text(())
    ('(8,)', '(2, 3)', '()')
    """
    return str(tuple(shape))
