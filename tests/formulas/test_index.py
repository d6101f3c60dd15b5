"""Gather, scatter and repeats on nested lists: PyTorch and NumPy as oracle, and what one undoes of the other."""

from __future__ import annotations

from itertools import product
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainworthy.errors import ShapeError, UsageError
from trainworthy.formulas.index import (
    Reduction,
    elements,
    gathered,
    nested_shape,
    one_hot,
    repeat_index,
    repeat_interleaved,
    reshaped,
    rule,
    scattered,
    selected,
    tiled,
    twice_written,
)

shapes = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)


@st.composite
def arrays(draw: st.DrawFn, shape: tuple[int, ...], low: int = -9, high: int = 9) -> Any:
    total = int(np.prod(shape))
    return reshaped(values=draw(st.lists(st.integers(low, high), min_size=total, max_size=total)), shape=shape)


@st.composite
def lookups(draw: st.DrawFn) -> tuple[Any, int, Any]:
    """Draw values, a dim, and an index that is at most as large except along that dim."""
    shape = draw(shapes)
    dim = draw(st.integers(0, len(shape) - 1))
    wanted = tuple(draw(st.integers(1, 5 if at == dim else size)) for at, size in enumerate(shape))
    return draw(arrays(shape)), dim, draw(arrays(wanted, 0, shape[dim] - 1))


@settings(max_examples=200)
@given(lookups())
def test_gather_agrees_with_torch(case: tuple[Any, int, Any]) -> None:
    values, dim, index = case
    expected = torch.gather(torch.tensor(values), dim, torch.tensor(index)).tolist()
    assert gathered(values=values, dim=dim, index=index) == expected
    if all(n == m for at, (n, m) in enumerate(zip(*map(np.shape, (values, index)), strict=True)) if at != dim):
        assert expected == np.take_along_axis(np.array(values), np.array(index), dim).tolist()


@settings(max_examples=200)
@given(lookups(), st.data())
def test_scatter_agrees_with_torch(case: tuple[Any, int, Any], data: st.DataObject) -> None:
    values, dim, index = case
    larger = tuple(n + data.draw(st.integers(0, 2)) for n in nested_shape(values=index))
    source = data.draw(arrays(larger))
    given_tensors = torch.tensor(values), torch.tensor(index), torch.tensor(source)
    added = given_tensors[0].scatter_add(dim, given_tensors[1], given_tensors[2])
    assert scattered(values=values, dim=dim, index=index, source=source, reduce="sum") == added.tolist()
    constant = given_tensors[0].scatter(dim, given_tensors[1], 5)
    assert scattered(values=values, dim=dim, index=index, source=5) == constant.tolist()
    if not twice_written(dim=dim, index=index):
        plain = given_tensors[0].scatter(dim, given_tensors[1], given_tensors[2])
        assert scattered(values=values, dim=dim, index=index, source=source) == plain.tolist()


@settings(max_examples=200)
@given(lookups(), st.sampled_from(get_args(Reduction)), st.booleans(), st.data())
def test_scatter_reduce_agrees_with_torch(
    case: tuple[Any, int, Any], reduce: Reduction, include_self: bool, data: st.DataObject
) -> None:
    values, dim, index = case
    source = data.draw(arrays(nested_shape(values=index)))
    expected = torch.tensor(values, dtype=torch.float64).scatter_reduce(
        dim, torch.tensor(index), torch.tensor(source, dtype=torch.float64), reduce, include_self=include_self
    )
    ours = scattered(values=values, dim=dim, index=index, source=source, reduce=reduce, include_self=include_self)
    assert torch.allclose(torch.tensor(ours, dtype=torch.float64), expected)


@settings(max_examples=200)
@given(lookups())
def test_rules_are_what_happens(case: tuple[Any, int, Any]) -> None:
    values, dim, index = case
    shape = nested_shape(values=index)
    text = rule(name="gather", dim=dim, num_dims=len(shape))
    left, right = text.split(" = ")
    out = reshaped(values=[0] * int(np.prod(shape)), shape=shape)
    for place in product(*map(range, shape)):
        names = dict(zip("ijk", place, strict=False))
        scope = {**names, "input": values, "index": index, "out": out}
        exec(f"{left} = {right}", scope)
    assert out == gathered(values=values, dim=dim, index=index)


@settings(max_examples=200)
@given(st.data())
def test_gather_reads_back_what_scatter_wrote(data: st.DataObject) -> None:
    rows, n = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 5))
    index = [data.draw(st.permutations(range(n))) for _ in range(rows)]
    source = data.draw(arrays((rows, n)))
    zeros = [[0] * n for _ in range(rows)]
    written = scattered(values=zeros, dim=1, index=index, source=source)
    assert gathered(values=written, dim=1, index=index) == source
    assert twice_written(dim=1, index=index) == ()


@settings(max_examples=150)
@given(shapes, st.data())
def test_selection_and_repeats_agree_with_torch_and_numpy(shape: tuple[int, ...], data: st.DataObject) -> None:
    values = data.draw(arrays(shape))
    tensor, array = torch.tensor(values), np.array(values)
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    index = data.draw(st.lists(st.integers(0, shape[dim] - 1), min_size=1, max_size=5))
    assert selected(values=values, dim=dim, index=index) == tensor.index_select(dim, torch.tensor(index)).tolist()
    assert selected(values=values, dim=dim, index=index) == np.take(array, index, axis=dim).tolist()
    counts = data.draw(st.lists(st.integers(1, 3), min_size=shape[dim], max_size=shape[dim]))
    expected = tensor.repeat_interleave(torch.tensor(counts), dim=dim).tolist()
    assert repeat_interleaved(values=values, repeats=counts, dim=dim) == expected
    assert expected == np.repeat(array, counts, axis=dim).tolist()
    assert repeat_interleaved(values=values, repeats=2) == tensor.repeat_interleave(2).tolist()
    times = data.draw(st.lists(st.integers(1, 3), min_size=len(shape), max_size=len(shape) + 1))
    assert tiled(values=values, repeats=times) == tensor.repeat(*times).tolist() == np.tile(array, times).tolist()


@settings(max_examples=100)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=6))
def test_one_hot_agrees_with_torch(labels: list[int]) -> None:
    expected = torch.nn.functional.one_hot(torch.tensor(labels), 5).tolist()
    assert one_hot(labels=labels, num_classes=5) == expected
    assert one_hot(labels=[], num_classes=5) == []


def test_golden_of_the_docs() -> None:
    # Examples of torch.gather, torch.Tensor.scatter_ and torch.repeat_interleave.
    assert gathered(values=[[1, 2], [3, 4]], dim=1, index=[[0, 0], [1, 0]]) == [[1, 1], [4, 3]]
    source = reshaped(values=range(1, 11), shape=(2, 5))
    zeros = reshaped(values=[0] * 15, shape=(3, 5))
    assert scattered(values=zeros, dim=0, index=[[0, 1, 2, 0]], source=source) == [
        [1, 0, 0, 4, 0], [0, 2, 0, 0, 0], [0, 0, 3, 0, 0]
    ]  # fmt: skip
    assert scattered(values=zeros, dim=1, index=[[0, 1, 2], [0, 1, 4]], source=source) == [
        [1, 2, 3, 0, 0], [6, 7, 0, 0, 8], [0, 0, 0, 0, 0]
    ]  # fmt: skip
    assert repeat_index(size=2, repeats=[1, 2]) == (0, 1, 1)
    assert rule(name="scatter_add", dim=-1, num_dims=2) == "self[i][index[i][j]] += src[i][j]"


@pytest.mark.parametrize(("wrong", "said"), [
    ({"index": [[0], [0], [0]]}, "larger than input \\(2, 2\\) in dimension 0"),
    ({"index": [0]}, "as many dimensions"),
    ({"index": [[2]]}, "index 2 is out of range for dimension 1 of size 2"),
    ({"index": [[-1]]}, "index -1 is out of range"),
])  # fmt: skip
def test_what_gather_refuses_torch_refuses(wrong: dict[str, Any], said: str) -> None:
    values = [[1, 2], [3, 4]]
    with pytest.raises(ShapeError, match=said):
        gathered(values=values, dim=1, **wrong)
    with pytest.raises(RuntimeError):
        torch.gather(torch.tensor(values), 1, torch.tensor(wrong["index"]))


def test_other_refusals() -> None:
    with pytest.raises(ShapeError, match="asks for more than src"):
        scattered(values=[0, 0], dim=0, index=[0, 1], source=[5])
    with pytest.raises(ShapeError, match="3 repeats"):
        repeat_index(size=2, repeats=[1, 1, 1])
    with pytest.raises(ShapeError, match="needs one for each"):
        tiled(values=[[1]], repeats=[2])
    with pytest.raises(UsageError, match="Rows differ"):
        nested_shape(values=[[1, 2], [3]])
    with pytest.raises(UsageError, match="dim 1 does not exist"):
        selected(values=[1, 2], dim=1, index=[0])
    with pytest.raises(ShapeError, match="do not fill"):
        reshaped(values=[1, 2], shape=(3,))
    with pytest.raises(ShapeError, match="index 5 is out of range"):
        one_hot(labels=[5], num_classes=5)
    assert list(elements(values=[[1], [2]])) == [1, 2]
