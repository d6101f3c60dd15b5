"""Sparse storage: bytes and contents against torch.sparse."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainworthy.errors import ShapeError
from trainworthy.formulas.sparse import (
    Coo,
    break_even_density,
    coalesced,
    coo_bytes,
    coo_from_csr,
    coo_from_dense,
    csc_bytes,
    csc_from_coo,
    csr_bytes,
    csr_from_coo,
    dense_bytes,
    dense_from_coo,
)

pytestmark = pytest.mark.filterwarnings("ignore:Sparse:UserWarning")


@st.composite
def matrices(draw: st.DrawFn) -> list[list[int]]:
    rows, columns = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    entry = st.one_of(st.just(0), st.integers(-9, 9))
    return [draw(st.lists(entry, min_size=columns, max_size=columns)) for _ in range(rows)]


def held(*tensors: torch.Tensor) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


@settings(max_examples=200)
@given(matrices())
def test_contents_and_bytes_agree_with_torch(dense: list[list[int]]) -> None:
    tensor = torch.tensor(dense, dtype=torch.float32)
    shape, nnz = tensor.shape, int(tensor.count_nonzero())
    coo, csr, csc = tensor.to_sparse(), tensor.to_sparse_csr(), tensor.to_sparse_csc()
    ours = coo_from_dense(dense=dense)
    assert [list(ours.rows), list(ours.columns)] == coo.indices().tolist()
    assert list(ours.values) == coo.values().tolist()
    assert coo_bytes(shape=shape, nnz=nnz) == held(coo.indices(), coo.values())
    rows = csr_from_coo(coo=ours, num_rows=shape[0])
    assert list(rows.pointers) == csr.crow_indices().tolist()
    assert list(rows.indices) == csr.col_indices().tolist()
    assert csr_bytes(shape=shape, nnz=nnz) == held(csr.crow_indices(), csr.col_indices(), csr.values())
    columns = csc_from_coo(coo=ours, num_columns=shape[1])
    assert list(columns.pointers) == csc.ccol_indices().tolist()
    assert list(columns.indices) == csc.row_indices().tolist()
    assert csc_bytes(shape=shape, nnz=nnz) == held(csc.ccol_indices(), csc.row_indices(), csc.values())
    assert dense_bytes(shape=shape) == held(tensor)
    # And back again.
    assert coo_from_csr(csr=rows) == ours
    back = dense_from_coo(coo=ours, num_rows=shape[0], num_columns=shape[1])
    assert [list(row) for row in back] == dense


@settings(max_examples=150)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(-9, 9)), max_size=8))
def test_coalescing_agrees_with_torch(entries: list[tuple[int, int, int]]) -> None:
    coo = Coo(*(tuple(part) for part in zip(*entries, strict=True))) if entries else Coo((), (), ())
    indices = torch.tensor([coo.rows, coo.columns], dtype=torch.int64).reshape(2, -1)
    theirs = torch.sparse_coo_tensor(indices, torch.tensor(coo.values, dtype=torch.float64), (4, 3)).coalesce()
    ours = coalesced(coo=coo)
    assert [list(ours.rows), list(ours.columns)] == theirs.indices().tolist()
    assert list(ours.values) == theirs.values().tolist()
    assert coalesced(coo=ours) == ours
    assert [list(row) for row in dense_from_coo(coo=coo, num_rows=4, num_columns=3)] == theirs.to_dense().tolist()


@settings(max_examples=200)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=4), st.sampled_from([1, 2, 4, 8]), st.data())
def test_break_even(shape: list[int], value_bytes: int, data: st.DataObject) -> None:
    total = dense_bytes(shape=shape, value_bytes=1)
    nnz = data.draw(st.integers(0, total))
    density = break_even_density(num_dims=len(shape), value_bytes=value_bytes)
    larger = coo_bytes(shape=shape, nnz=nnz, value_bytes=value_bytes) > dense_bytes(
        shape=shape, value_bytes=value_bytes
    )
    assert larger == (nnz * (8 * len(shape) + value_bytes) > total * value_bytes)
    if abs(nnz / total - density) > 1e-9:
        assert larger == (nnz / total > density)


def test_worked_examples_of_the_torch_docs() -> None:
    # "a 10 000 x 10 000 tensor with 100 000 non-zero 32-bit floating point numbers ... COO: 2 000 000 bytes,
    # CSR: 1 280 000 bytes (and one pointer more), strided: 400 000 000 bytes".
    shape: Any = (10_000, 10_000)
    assert coo_bytes(shape=shape, nnz=100_000) == 2_000_000
    assert csr_bytes(shape=shape, nnz=100_000) == 1_280_000 + 8
    assert dense_bytes(shape=shape) == 400_000_000


def test_refusals() -> None:
    with pytest.raises(ShapeError, match="7 elements cannot be stored"):
        coo_bytes(shape=(2, 3), nnz=7)
    with pytest.raises(ShapeError, match="are for matrices"):
        csr_bytes(shape=(2, 3, 4), nnz=7)
    with pytest.raises(ShapeError, match="Row 2 does not exist"):
        csr_from_coo(coo=Coo((2,), (0,), (1,)), num_rows=2)
