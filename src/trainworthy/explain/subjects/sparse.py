"""Sparse storage: COO, CSR and CSC of a small matrix, and bytes of a large one."""

from __future__ import annotations

import argparse
from math import prod
from typing import Any

from trainworthy.errors import UsageError
from trainworthy.explain.arguments import count, nested, shape
from trainworthy.explain.drawing import Grid, Mark, beside, boxes, columns, grids_svg
from trainworthy.explain.explanation import Explanation, Formula
from trainworthy.explain.registry import subject
from trainworthy.formulas.checks import Shape, shape_text
from trainworthy.formulas.index import nested_shape
from trainworthy.formulas.sparse import (
    Compressed,
    Coo,
    break_even_density,
    coo_bytes,
    coo_from_dense,
    csc_bytes,
    csc_from_coo,
    csr_bytes,
    csr_from_coo,
    dense_bytes,
)
from trainworthy.units import format_bytes

_FORMULA = Formula(
    text="dense   rows * columns * value\n"
    "COO     nnz * (ndim * index + value)\n"
    "CSR     (rows + 1) * index + nnz * (index + value)\n"
    "CSC     (columns + 1) * index + nnz * (index + value)",
    source="docs of torch.sparse (https://docs.pytorch.org/docs/stable/sparse.html); index is 8 bytes by default",
)
_EXAMPLE = [[0, 5, 0, 0], [7, 0, 0, 9], [0, 0, 0, 0]]


def _arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("matrix", nargs="?", type=nested, metavar="MATRIX", help='a small one, such as "[[0,5],[7,0]]"')
    add("--shape", type=shape, metavar="SHAPE", help="bytes of a large one: its shape")
    add("--nnz", type=count, metavar="N", help="stored elements of the large one (default: 1 in 100)")
    add("--value-bytes", type=int, choices=(1, 2, 4, 8), default=4, help="bytes of a value (default: 4)")
    add("--index-bytes", type=int, choices=(4, 8), default=8, help="bytes of an index in CSR and CSC (default: 8)")


@subject(
    "sparse",
    summary="COO, CSR, CSC: what they keep, and in how many bytes",
    group="shapes",
    arguments=_arguments,
    examples=(
        '"[[0,5],[7,0]]"',
        '--shape "(10000,10000)" --nnz 100000',
        "--shape 1000,1000 --nnz 500k --value-bytes 2",
    ),
    aliases=("coo", "csr", "csc", "to-sparse"),
)
def sparse(options: argparse.Namespace) -> Explanation:
    """Explain sparse storage."""
    if options.shape is not None:
        if options.matrix is not None:
            raise UsageError("Give a matrix or --shape, not both.")
        return _large(options, options.shape)
    return _small(_EXAMPLE if options.matrix is None else options.matrix, options)


def _small(dense: Any, options: argparse.Namespace) -> Explanation:
    sizes = nested_shape(values=dense)
    if len(sizes) != 2 or prod(sizes) > 100 or 0 in sizes:
        raise UsageError(f"{shape_text(sizes)} is no matrix of up to 100 elements.", fix="Use --shape for large ones.")
    coo = coo_from_dense(dense=dense)
    csr, csc = csr_from_coo(coo=coo, num_rows=sizes[0]), csc_from_coo(coo=coo, num_columns=sizes[1])
    nnz = len(coo.values)
    title = f"a matrix of {shape_text(sizes)} with {nnz} stored elements"
    sparse_bytes = _bytes(sizes, nnz, options)
    pointers = "; ".join(f"row {i}: {csr.pointers[i]} to {csr.pointers[i + 1]}" for i in range(min(sizes[0], 6)))
    lines, grids = _pictures(dense, coo, csr, csc)
    return Explanation(
        title=title, result=", ".join(f"{name} {size} B" for name, size in sparse_bytes.items()),
        steps=(
            "COO: a row, a column and a value for each stored element.",
            "CSR: elements sorted by row, so rows need not be written out: row i is elements pointers[i] to "
            f"pointers[i + 1]; {pointers}.",
            "CSC: the same by columns. CSR multiplies by a vector row by row; CSC is CSR of the transposed matrix.",
        ),
        diagram="\n".join(lines), svg=grids_svg(title, grids), formulas=(_FORMULA,),
        notes=_notes(options), see_also=("scatter", "gather"), snippet=_small_snippet(dense, coo, csr, csc),
        values={
            "shape": sizes, "nnz": nnz, "coo": coo._asdict(), "csr": csr._asdict(), "csc": csc._asdict(),
            **{f"{name.lower()}_bytes": size for name, size in sparse_bytes.items()},
        },
    )  # fmt: skip


def _pictures(dense: Any, coo: Coo, csr: Compressed, csc: Compressed) -> tuple[list[str], list[Grid]]:
    """Draw the matrix beside what each format keeps, in text and as grids."""
    marks: dict[tuple[int, int], Mark] = dict.fromkeys(zip(coo.rows, coo.columns, strict=True), "strong")
    matrix = Grid(cells=[[f"{v:g}" for v in row] for row in dense], title="dense", marks=marks)
    lines, grids = [], [matrix]
    for name, rows in (
        ("COO", (("rows", coo.rows), ("columns", coo.columns), ("values", coo.values))),
        ("CSR", (("pointers", csr.pointers), ("columns", csr.indices), ("values", csr.values))),
        ("CSC", (("pointers", csc.pointers), ("rows", csc.indices), ("values", csc.values))),
    ):
        names = (name, "", "")
        table = [[head, label, *map(str, row)] for (label, row), head in zip(rows, names, strict=True)]
        lines += [*columns(table, align="ll"), ""]
        grids += [Grid(cells=[list(map(str, row))], title=f"{name} {label}") for label, row in rows]
    return beside(boxes(matrix), lines[:-1], gap=4), grids


def _small_snippet(dense: Any, coo: Coo, csr: Compressed, csc: Compressed) -> str:
    return "\n".join([
        "import torch", "", "x = torch.tensor([", *(f"    {list(row)}," for row in dense), "]).float()",
        "coo, csr = x.to_sparse(), x.to_sparse_csr()",
        f"assert coo.indices().tolist() == {[list(coo.rows), list(coo.columns)]}",
        f"assert csr.crow_indices().tolist() == {list(csr.pointers)}",
        f"assert csr.col_indices().tolist() == {list(csr.indices)}",
        f"assert x.to_sparse_csc().ccol_indices().tolist() == {list(csc.pointers)}",
        "assert (csr.to_dense() == x).all()",
    ])  # fmt: skip


def _bytes(sizes: Shape, nnz: int, options: argparse.Namespace) -> dict[str, int]:
    value, index = options.value_bytes, options.index_bytes
    out = {
        "dense": dense_bytes(shape=sizes, value_bytes=value),
        "COO": coo_bytes(shape=sizes, nnz=nnz, value_bytes=value),
    }
    if len(sizes) == 2:
        out["CSR"] = csr_bytes(shape=sizes, nnz=nnz, value_bytes=value, index_bytes=index)
        out["CSC"] = csc_bytes(shape=sizes, nnz=nnz, value_bytes=value, index_bytes=index)
    return out


def _notes(options: argparse.Namespace) -> tuple[str, ...]:
    density = break_even_density(value_bytes=options.value_bytes)
    return (
        f"COO is smaller than dense only below {100 * density:.3g} % stored elements; speed needs far fewer still.",
        "Adding COO tensors can store a place twice: coalesce() adds them up.",
    )


def _large(options: argparse.Namespace, sizes: Shape) -> Explanation:
    total = prod(sizes)
    nnz = options.nnz if options.nnz is not None else max(total // 100, 1)
    sizes_of = _bytes(sizes, nnz, options)
    smallest = min(sizes_of, key=lambda name: sizes_of[name])
    density = nnz / total if total else 0.0
    limit = break_even_density(num_dims=len(sizes), value_bytes=options.value_bytes)
    rows = [["", "bytes", "", "of dense"]]
    rows += [
        [name, f"{size:,}", format_bytes(size), f"{100 * size / sizes_of['dense']:.3g} %"]
        for name, size in sizes_of.items()
    ]
    longest = max(sizes_of.values())
    bars = [f"{name:6}{'█' * max(round(48 * size / longest), 1)}" for name, size in sizes_of.items()]
    title = f"{shape_text(sizes)}, {nnz:,} stored elements ({100 * density:.3g} %)"
    v, i = options.value_bytes, options.index_bytes
    steps = [
        f"Dense keeps all {total:,} elements of {v} bytes.",
        f"COO keeps {len(sizes)} indices of 8 bytes and a value for each: {nnz:,} * ({len(sizes)}*8 + {v}) = "
        f"{sizes_of['COO']:,} bytes.",
    ]
    if "CSR" in sizes_of:
        steps.append(f"CSR keeps {sizes[0]:,} + 1 pointers: {sizes[0] + 1:,} * {i} + {nnz:,} * ({i} + {v}) = "
                     f"{sizes_of['CSR']:,} bytes.")  # fmt: skip
    steps.append(f"COO equals dense at {100 * limit:.3g} % stored elements; here there are {100 * density:.3g} %.")
    marks: dict[tuple[int, int], Mark] = {(list(sizes_of).index(smallest), 0): "good"}
    grid = Grid(cells=[row[1:] for row in rows[1:]], names=list(sizes_of), heads=rows[0][1:], marks=marks)
    return Explanation(
        title=title,
        result=f"smallest: {smallest}, {format_bytes(sizes_of[smallest])}; dense {format_bytes(sizes_of['dense'])}",
        steps=tuple(steps), diagram="\n".join([*columns(rows, gap=3, align="l"), "", *bars]),
        svg=grids_svg(title, [grid]), formulas=(_FORMULA,), notes=_notes(options), see_also=("scatter", "gather"),
        snippet=_large_snippet(sizes, nnz, sizes_of, options),
        values={
            "shape": sizes, "nnz": nnz, "density": density, "break_even_density": limit,
            **{f"{name.lower()}_bytes": size for name, size in sizes_of.items()},
        },
    )  # fmt: skip


def _large_snippet(sizes: Shape, nnz: int, sizes_of: dict[str, int], options: argparse.Namespace) -> str:
    """Check the bytes on the parts that torch holds, without data."""
    i, dtype = options.index_bytes, {1: "int8", 2: "bfloat16", 4: "float32", 8: "float64"}[options.value_bytes]
    lines = [
        "import torch", "", "def held(*tensors):", "    return sum(t.numel() * t.element_size() for t in tensors)", "",
        "def meta(*size, dtype=torch.int64):", "    return torch.empty(size, dtype=dtype, device=\"meta\")", "",
        f"nnz, values = {nnz}, meta({nnz}, dtype=torch.{dtype})",
        f"assert held(meta({len(sizes)}, nnz), values) == {sizes_of['COO']}  # COO",
    ]  # fmt: skip
    if "CSR" in sizes_of:
        index = "torch.int64" if i == 8 else "torch.int32"
        lines += [
            f"pointers = meta({sizes[0]} + 1, dtype={index})",
            f"columns = meta(nnz, dtype={index})",
            f"assert held(pointers, columns, values) == {sizes_of['CSR']}  # CSR",
        ]
    return "\n".join(lines)
