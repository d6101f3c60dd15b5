"""Sparse storage: what COO, CSR and CSC keep, in how many bytes, and from one to the other.

Letters: r rows, c columns, nnz stored elements (zeros that are stored count). Indices are int64 in PyTorch's COO and by
default in its CSR and CSC, where int32 is possible; SciPy takes int32 where it can.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

from trainworthy.errors import ShapeError
from trainworthy.formulas.checks import shape_text, whole, whole_shape

Matrix = Sequence[Sequence[float]]


class Coo(NamedTuple):
    """Coordinates: a row and a column for each element."""

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    values: tuple[float, ...]


class Compressed(NamedTuple):
    """CSR or CSC: row (column) i holds elements ``pointers[i]`` to ``pointers[i + 1]``."""

    pointers: tuple[int, ...]
    indices: tuple[int, ...]
    values: tuple[float, ...]


def dense_bytes(*, shape: Sequence[int], value_bytes: int = 4) -> int:
    """Count the bytes of a dense tensor.

    Unit:     bytes
    Exact?    yes
    Source:   elements times their size

    >>> dense_bytes(shape=(1000, 1000))
    4000000
    """
    return prod(whole_shape("the shape", shape)) * whole("value_bytes", value_bytes, minimum=1)


def coo_bytes(*, shape: Sequence[int], nnz: int, value_bytes: int = 4, index_bytes: int = 8) -> int:
    """Count the bytes of a COO tensor: an index for each dimension, and a value, for each element.

    Unit:     bytes
    Exact?    yes
    Source:   docs of torch.sparse: ``(ndim * 8 + size of an element) * nse``

    >>> coo_bytes(shape=(10_000, 10_000), nnz=100_000)
    2000000

    Raises:
        ShapeError: If more elements are stored than there are places.
    """
    _check_nnz(shape, nnz)
    return (len(shape) * whole("index_bytes", index_bytes, minimum=1) + whole("value_bytes", value_bytes)) * nnz


def csr_bytes(*, shape: Sequence[int], nnz: int, value_bytes: int = 4, index_bytes: int = 8) -> int:
    """Count the bytes of a CSR matrix: r + 1 pointers, then a column and a value for each element.

    Unit:     bytes
    Exact?    yes
    Source:   docs of torch.sparse: ``(nrows * 8 + (8 + size of an element) * nse)``, which leaves the one pointer out

    >>> csr_bytes(shape=(10_000, 10_000), nnz=100_000)
    1280008

    Raises:
        ShapeError: If it is no matrix, or more elements are stored than there are places.
    """
    _check_matrix(shape)
    return _compressed_bytes(shape, shape[0], nnz, value_bytes, index_bytes)


def csc_bytes(*, shape: Sequence[int], nnz: int, value_bytes: int = 4, index_bytes: int = 8) -> int:
    """Count the bytes of a CSC matrix: c + 1 pointers, then a row and a value for each element.

    Unit:     bytes
    Exact?    yes
    Source:   docs of torch.sparse; CSR of the transposed matrix

    >>> csc_bytes(shape=(10_000, 20), nnz=1000)
    12168
    """
    _check_matrix(shape)
    return _compressed_bytes(shape, shape[1], nnz, value_bytes, index_bytes)


def break_even_density(*, num_dims: int = 2, value_bytes: int = 4, index_bytes: int = 8) -> float:
    """Return the share of stored elements above which COO takes more memory than the dense tensor.

    Unit:     share, 0 to 1
    Exact?    yes
    Source:   ``(ndim * index + value) * nnz = value * elements``

    >>> break_even_density(), break_even_density(value_bytes=2)
    (0.2, 0.1111111111111111)
    """
    return value_bytes / (num_dims * index_bytes + value_bytes)


def coo_from_dense(*, dense: Matrix) -> Coo:
    """Keep what is not zero, row by row.

    Shapes:   (r, c) -> rows (nnz,), columns (nnz,), values (nnz,)
    Exact?    yes
    Source:   torch.Tensor.to_sparse; scipy.sparse.coo_matrix

    >>> coo_from_dense(dense=[[0, 5], [7, 0]])
    Coo(rows=(0, 1), columns=(1, 0), values=(5, 7))
    """
    found = [(r, c, value) for r, row in enumerate(dense) for c, value in enumerate(row) if value != 0]
    return Coo(tuple(r for r, _, _ in found), tuple(c for _, c, _ in found), tuple(v for _, _, v in found))


def coalesced(*, coo: Coo) -> Coo:
    """Sort by row and column and add up what is stored twice.

    Exact?    up to the order of additions
    Source:   docs of torch.Tensor.coalesce

    >>> coalesced(coo=Coo(rows=(1, 0, 1), columns=(0, 1, 0), values=(3, 5, 4)))
    Coo(rows=(0, 1), columns=(1, 0), values=(5, 7))
    """
    sums: dict[tuple[int, int], float] = {}
    for row, column, value in zip(*coo, strict=True):
        sums[row, column] = sums[row, column] + value if (row, column) in sums else value
    places = sorted(sums)
    return Coo(tuple(r for r, _ in places), tuple(c for _, c in places), tuple(sums[place] for place in places))


def csr_from_coo(*, coo: Coo, num_rows: int) -> Compressed:
    """Compress the rows.

    Shapes:   nnz elements -> pointers (r + 1,), columns (nnz,), values (nnz,)
    Exact?    yes
    Source:   docs of torch.sparse, CSR: ``pointers[i + 1] - pointers[i]`` elements in row i

    >>> csr_from_coo(coo=Coo(rows=(0, 1, 1), columns=(1, 0, 2), values=(5, 7, 9)), num_rows=3)
    Compressed(pointers=(0, 1, 3, 3), indices=(1, 0, 2), values=(5, 7, 9))

    Raises:
        ShapeError: If a row is out of range.
    """
    sorted_coo = coalesced(coo=coo)
    counts = [0] * num_rows
    for row in sorted_coo.rows:
        if not 0 <= row < num_rows:
            raise ShapeError(f"Row {row} does not exist in {num_rows} rows.")
        counts[row] += 1
    pointers = [0]
    for count in counts:
        pointers.append(pointers[-1] + count)
    return Compressed(tuple(pointers), sorted_coo.columns, sorted_coo.values)


def csc_from_coo(*, coo: Coo, num_columns: int) -> Compressed:
    """Compress the columns: CSR of the transposed matrix.

    Shapes:   nnz elements -> pointers (c + 1,), rows (nnz,), values (nnz,)
    Exact?    yes
    Source:   docs of torch.sparse, CSC

    >>> csc_from_coo(coo=Coo(rows=(0, 1, 1), columns=(1, 0, 2), values=(5, 7, 9)), num_columns=3)
    Compressed(pointers=(0, 1, 2, 3), indices=(1, 0, 1), values=(7, 5, 9))
    """
    return csr_from_coo(coo=Coo(coo.columns, coo.rows, coo.values), num_rows=num_columns)


def coo_from_csr(*, csr: Compressed) -> Coo:
    """Write the row of each element out again.

    Exact?    yes
    Source:   the definition of CSR

    >>> coo_from_csr(csr=Compressed(pointers=(0, 1, 3), indices=(1, 0, 2), values=(5, 7, 9)))
    Coo(rows=(0, 1, 1), columns=(1, 0, 2), values=(5, 7, 9))
    """
    pairs = zip(csr.pointers, csr.pointers[1:], strict=False)
    rows = tuple(row for row, (first, end) in enumerate(pairs) for _ in range(end - first))
    return Coo(rows, csr.indices, csr.values)


def dense_from_coo(*, coo: Coo, num_rows: int, num_columns: int) -> tuple[tuple[float, ...], ...]:
    """Fill a matrix of zeros; what is stored twice adds up.

    Shapes:   nnz elements -> (r, c)
    Exact?    up to the order of additions
    Source:   torch.Tensor.to_dense

    >>> dense_from_coo(coo=Coo(rows=(0, 1), columns=(1, 0), values=(5, 7)), num_rows=2, num_columns=2)
    ((0, 5), (7, 0))
    """
    sums = {(r, c): v for r, c, v in zip(*coalesced(coo=coo), strict=True)}
    return tuple(tuple(sums.get((r, c), 0) for c in range(num_columns)) for r in range(num_rows))


def _compressed_bytes(shape: Sequence[int], pointers: int, nnz: int, value_bytes: int, index_bytes: int) -> int:
    _check_nnz(shape, nnz)
    index = whole("index_bytes", index_bytes, minimum=1)
    return (pointers + 1) * index + (index + whole("value_bytes", value_bytes)) * nnz


def _check_nnz(shape: Sequence[int], nnz: int) -> None:
    places = prod(whole_shape("the shape", shape))
    if whole("nnz", nnz) > places:
        raise ShapeError(f"{nnz:,} elements cannot be stored in {shape_text(shape)}, {places:,} places.")


def _check_matrix(shape: Sequence[int]) -> None:
    if len(shape) != 2:
        raise ShapeError(f"CSR and CSC are for matrices, got {shape_text(shape)}.", fix="COO takes any dimensions.")
