"""Gather, scatter, index_select, repeat_interleave: which element goes where, on plain nested lists.

A tensor is a nested list of numbers, all rows of a level equally long. Indices count from 0; PyTorch takes no negative
ones in gather and scatter. Unlike NumPy's ``take_along_axis``, gather and scatter do not broadcast the index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from math import prod
from typing import Any, Literal

from trainworthy.errors import ShapeError, UsageError
from trainworthy.formulas.checks import Shape, shape_text, whole, whole_dim

Nested = Any  # a number, or a list of Nested
Reduction = Literal["sum", "prod", "mean", "amax", "amin"]
_LETTERS = "ijklmnpq"
_COMBINE: dict[str, Callable[[float, float], float]] = {
    "sum": lambda a, b: a + b,
    "mean": lambda a, b: a + b,
    "prod": lambda a, b: a * b,
    "amax": max,
    "amin": min,
}


def nested_shape(*, values: Nested) -> Shape:
    """Return the shape of nested lists.

    Exact?    yes
    Source:   torch.tensor: rows must be equally long

    >>> nested_shape(values=[[1, 2, 3], [4, 5, 6]]), nested_shape(values=7)
    ((2, 3), ())

    Raises:
        UsageError: If rows differ in length.
    """
    if not isinstance(values, (list, tuple)):
        return ()
    shapes = {nested_shape(values=row) for row in values}
    if len(shapes) > 1:
        raise UsageError(f"Rows differ in shape: {' and '.join(map(shape_text, sorted(shapes)))}.")
    return (len(values), *(shapes.pop() if shapes else ()))


def rule(*, name: Literal["gather", "scatter", "scatter_add"], dim: int, num_dims: int) -> str:
    """Write out which element goes where.

    Exact?    yes
    Source:   docs of torch.gather, torch.Tensor.scatter_ and torch.Tensor.scatter_add_

    >>> rule(name="gather", dim=1, num_dims=2)
    'out[i][j] = input[i][index[i][j]]'
    >>> rule(name="scatter", dim=0, num_dims=3)
    'self[index[i][j][k]][j][k] = src[i][j][k]'
    """
    dim = whole_dim("dim", dim, num_dims=num_dims)
    letters = [f"[{_LETTERS[at] if at < len(_LETTERS) else f'i{at}'}]" for at in range(num_dims)]
    here = "".join(letters)
    there = "".join(f"[index{here}]" if at == dim else letter for at, letter in enumerate(letters))
    if name == "gather":
        return f"out{here} = input{there}"
    return f"self{there} {'+=' if name == 'scatter_add' else '='} src{here}"


def gathered(*, values: Nested, dim: int, index: Nested) -> Nested:
    """Look elements up along ``dim``; the result has the shape of ``index``.

    Shapes:   values, index of as many dimensions, ``index.size(d) <= values.size(d)`` for d != dim -> shape of index
    Exact?    yes
    Source:   docs of torch.gather; agrees with it

    >>> gathered(values=[[1, 2], [3, 4]], dim=1, index=[[0, 0], [1, 0]])
    [[1, 1], [4, 3]]

    Raises:
        ShapeError: If the shapes do not go together, or an index is out of range.
    """
    shape, at = _checked(values, dim, index, other="input")
    return _made(nested_shape(values=index), lambda place: _get(values, _moved(place, at, _get(index, place), shape)))


def scattered(
    *, values: Nested, dim: int, index: Nested, source: Nested, reduce: Reduction | None = None,
    include_self: bool = True,
) -> Nested:  # fmt: skip
    """Write elements of ``source`` to the places that ``index`` names along ``dim``; ``values`` is not changed.

    Where two go to one place, one of them wins (here the last; on a GPU any), unless ``reduce`` joins them. Only as
    much of ``source`` is used as there is of ``index``. ``source`` may be one number.

    Shapes:   values, index, source of as many dimensions; ``index.size(d) <= source.size(d)`` for every d and
              ``index.size(d) <= values.size(d)`` for d != dim -> shape of values
    Exact?    yes, apart from the order of additions
    Source:   docs of torch.Tensor.scatter_, scatter_add_, scatter_reduce_; agrees with them on the CPU

    >>> scattered(values=[[0, 0, 0], [0, 0, 0]], dim=1, index=[[2], [0]], source=1)
    [[0, 0, 1], [1, 0, 0]]
    >>> scattered(values=[0, 0], dim=0, index=[1, 1, 1], source=[1, 2, 3], reduce="sum")
    [0, 6]

    Raises:
        ShapeError: If the shapes do not go together, or an index is out of range.
    """
    shape, at = _checked(values, dim, index, other="self")
    wanted, given = nested_shape(values=index), nested_shape(values=source)
    if given and (len(given) != len(wanted) or any(n > m for n, m in zip(wanted, given, strict=True))):
        raise ShapeError(f"index {shape_text(wanted)} asks for more than src {shape_text(given)} has.")
    found: dict[Shape, list[float]] = {}
    for place in product(*map(range, wanted)):
        value = _get(source, place) if given else source
        found.setdefault(_moved(place, at, _get(index, place), shape), []).append(value)
    return _made(shape, lambda place: _joined(_get(values, place), found.get(place, []), reduce, include_self))


def twice_written(*, dim: int, index: Nested) -> tuple[Shape, ...]:
    """List the places that a scatter writes more than once; which value stays there is not defined.

    Exact?    yes
    Source:   docs of torch.Tensor.scatter_: "the behavior is non-deterministic" if indices are not unique

    >>> twice_written(dim=0, index=[1, 0, 1])
    ((1,),)
    """
    shape = nested_shape(values=index)
    at = whole_dim("dim", dim, num_dims=max(len(shape), 1))
    seen: dict[Shape, int] = {}
    for place in product(*map(range, shape)):
        target = (*place[:at], _get(index, place), *place[at + 1 :])
        seen[target] = seen.get(target, 0) + 1
    return tuple(sorted(target for target, times in seen.items() if times > 1))


def selected(*, values: Nested, dim: int, index: Sequence[int]) -> Nested:
    """Take whole slices along ``dim``, in the order of ``index``.

    Shapes:   (..., n, ...), index (m,) -> (..., m, ...)
    Exact?    yes
    Source:   docs of torch.index_select; numpy.take

    >>> selected(values=[[1, 2, 3], [4, 5, 6]], dim=1, index=[2, 0])
    [[3, 1], [6, 4]]

    Raises:
        ShapeError: If an index is out of range.
    """
    shape = nested_shape(values=values)
    at = whole_dim("dim", dim, num_dims=len(shape))
    for entry in index:
        _in_range(entry, shape[at], at)
    out = (*shape[:at], len(index), *shape[at + 1 :])
    return _made(out, lambda place: _get(values, (*place[:at], index[place[at]], *place[at + 1 :])))


def repeat_index(*, size: int, repeats: int | Sequence[int]) -> tuple[int, ...]:
    """Return which slice each slice of ``repeat_interleave`` comes from: 0 0 1 1 2 2.

    Exact?    yes
    Source:   docs of torch.repeat_interleave; numpy.repeat

    >>> repeat_index(size=3, repeats=2), repeat_index(size=3, repeats=[1, 0, 2])
    ((0, 0, 1, 1, 2, 2), (0, 2, 2))

    Raises:
        ShapeError: If there is neither one number of repeats nor one for each slice.
    """
    size = whole("size", size)
    if isinstance(repeats, Sequence):
        counts = [whole("repeats", count) for count in repeats]
    else:
        counts = [whole("repeats", repeats)] * size
    if len(counts) == 1:
        counts *= size
    if len(counts) != size:
        raise ShapeError(
            f"{len(counts)} repeats {tuple(counts)} for {size} slices.", fix="Give one number, or one for each slice."
        )
    return tuple(at for at, count in enumerate(counts) for _ in range(count))


def repeat_interleaved(*, values: Nested, repeats: int | Sequence[int], dim: int | None = None) -> Nested:
    """Repeat every slice in its place: a a b b, where ``Tensor.repeat`` and ``numpy.tile`` give a b a b.

    Shapes:   (..., n, ...) -> (..., sum(repeats), ...); without ``dim`` the elements in one row
    Exact?    yes
    Source:   docs of torch.repeat_interleave; numpy.repeat

    >>> repeat_interleaved(values=[[1, 2], [3, 4]], repeats=[1, 2], dim=0)
    [[1, 2], [3, 4], [3, 4]]
    >>> repeat_interleaved(values=[[1, 2], [3, 4]], repeats=2)
    [1, 1, 2, 2, 3, 3, 4, 4]
    """
    if dim is None:
        values, dim = list(elements(values=values)), 0
    shape = nested_shape(values=values)
    at = whole_dim("dim", dim, num_dims=len(shape))
    return selected(values=values, dim=at, index=repeat_index(size=shape[at], repeats=repeats))


def tiled(*, values: Nested, repeats: Sequence[int]) -> Nested:
    """Repeat the whole: a b a b.

    Shapes:   (n, m), repeats (r, s) -> (n * r, m * s); more repeats than dimensions add dimensions in front
    Exact?    yes
    Source:   docs of torch.Tensor.repeat; numpy.tile

    >>> tiled(values=[1, 2], repeats=[2, 2])
    [[1, 2, 1, 2], [1, 2, 1, 2]]

    Raises:
        ShapeError: If there are fewer repeats than dimensions.
    """
    shape = nested_shape(values=values)
    if len(repeats) < len(shape):
        raise ShapeError(f"{len(repeats)} repeats for {len(shape)} dimensions; Tensor.repeat needs one for each.")
    missing = len(repeats) - len(shape)
    sizes = (1,) * missing + shape
    out = tuple(size * whole("repeats", times) for size, times in zip(sizes, repeats, strict=True))
    return _made(
        out,
        lambda place: _get(values, tuple(at % size for at, size in zip(place[missing:], shape, strict=True))),
    )


def one_hot(*, labels: Sequence[int], num_classes: int) -> Nested:
    """Make one-hot rows: a scatter of 1 into zeros along the last dimension.

    Shapes:   (n,) -> (n, num_classes)
    Exact?    yes
    Source:   torch.nn.functional.one_hot

    >>> one_hot(labels=[0, 2, 1], num_classes=3)
    [[1, 0, 0], [0, 0, 1], [0, 1, 0]]

    Raises:
        ShapeError: If a label is no class.
    """
    zeros = [[0] * whole("num_classes", num_classes, minimum=1) for _ in labels]
    return scattered(values=zeros, dim=1, index=[[label] for label in labels], source=1) if zeros else []


def elements(*, values: Nested) -> Iterator[float]:
    """Yield the elements row by row.

    >>> list(elements(values=[[1, 2], [3, 4]]))
    [1, 2, 3, 4]
    """
    if isinstance(values, (list, tuple)):
        for row in values:
            yield from elements(values=row)
    else:
        yield values


def reshaped(*, values: Sequence[float], shape: Sequence[int]) -> Nested:
    """Make nested lists of a row of elements.

    >>> reshaped(values=range(4), shape=(2, 2))
    [[0, 1], [2, 3]]

    Raises:
        ShapeError: If the number of elements differs.
    """
    if len(values) != prod(shape):
        raise ShapeError(f"{len(values)} elements do not fill {shape_text(shape)}.")
    if not shape:
        return values[0]
    step = prod(shape[1:])
    return [reshaped(values=values[at * step : (at + 1) * step], shape=shape[1:]) for at in range(shape[0])]


def _checked(values: Nested, dim: int, index: Nested, *, other: str) -> tuple[Shape, int]:
    shape, wanted = nested_shape(values=values), nested_shape(values=index)
    if len(shape) != len(wanted):
        raise ShapeError(
            f"index {shape_text(wanted)} must have as many dimensions as {other} {shape_text(shape)}.",
            fix="Add dimensions with unsqueeze and repeat them with expand; gather and scatter do not broadcast.",
        )
    at = whole_dim("dim", dim, num_dims=len(shape))
    for d, (need, size) in enumerate(zip(wanted, shape, strict=True)):
        if d != at and need > size:
            raise ShapeError(
                f"index {shape_text(wanted)} is larger than {other} {shape_text(shape)} in dimension {d} "
                f"({need} and {size}); only along dim {at} may it be."
            )
    return shape, at


def _moved(place: Shape, at: int, to: int, shape: Shape) -> Shape:
    _in_range(to, shape[at], at)
    return (*place[:at], to, *place[at + 1 :])


def _in_range(entry: int, size: int, dim: int) -> None:
    if not 0 <= entry < size:
        raise ShapeError(f"index {entry} is out of range for dimension {dim} of size {size}.")


def _get(values: Nested, place: Sequence[int]) -> Any:
    for at in place:
        values = values[at]
    return values


def _made(shape: Shape, element: Callable[[Shape], float]) -> Nested:
    return reshaped(values=[element(place) for place in product(*map(range, shape))], shape=shape)


def _joined(own: float, written: list[float], reduce: Reduction | None, include_self: bool) -> float:
    if not written:
        return own
    if reduce is None:
        return written[-1]
    parts = [own, *written] if include_self else written
    total = parts[0]
    for part in parts[1:]:
        total = _COMBINE[reduce](total, part)
    return total / len(parts) if reduce == "mean" else total
