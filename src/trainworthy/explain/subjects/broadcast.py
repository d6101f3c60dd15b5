"""Broadcasting, read from the right."""

from __future__ import annotations

import argparse
from math import prod

from trainworthy.explain.arguments import shape
from trainworthy.explain.drawing import Grid, Mark, boxes, columns, grids_svg
from trainworthy.explain.explanation import Explanation, Formula
from trainworthy.explain.registry import subject
from trainworthy.formulas.broadcast import (
    AlignedDim,
    aligned_dims,
    broadcast_shape,
    crossed_dims,
    failure,
    meet_as_row_and_column,
    read_counts,
)
from trainworthy.formulas.checks import Shape, shape_text

_RULE = Formula(
    text="compare sizes from the right; a missing dimension counts as 1\n"
    "equal       -> that size\n"
    "one is 1    -> the other size; repeated with stride 0, not copied\n"
    "otherwise   -> error",
    source="NumPy user guide, Broadcasting (https://numpy.org/doc/stable/user/basics.broadcasting.html), "
    "which PyTorch follows",
)
_MAX_COPIED = 10**6  # elements of a tensor that a snippet makes
_MATRIX = 4  # rows and columns of the picture of row and column


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shapes", nargs="*", type=shape, metavar="SHAPE", help='such as "(8,1,6,1)"; () is a scalar')


@subject(
    "broadcast",
    summary="which shapes go together, and which dimension fails",
    group="shapes",
    arguments=_arguments,
    examples=('"(8,1,6,1)" "(7,1,5)"', '"(64,1)" "(64,)"', '"(4,3,2)" "(2,2)"', "8,1 1,5 4,1,1", '"()" "(0,3)"'),
    aliases=("broadcasting", "broadcast-shapes"),
)
def broadcast(options: argparse.Namespace) -> Explanation:
    """Explain how shapes broadcast."""
    shapes: list[Shape] = options.shapes or [(8, 1, 6, 1), (7, 1, 5)]
    dims = aligned_dims(shapes=shapes)
    failing = next((dim for dim in dims if dim.result is None), None)
    title = " with ".join(map(shape_text, shapes))
    steps = tuple(_step(dim) for dim in dims)
    see_also = ("strides", "view", "attention")
    if failing is not None:
        return Explanation(
            title=title, result=failure(shapes=shapes, dim=failing), problem=True, steps=steps,
            diagram="\n".join(_lines(shapes, dims)), svg=_svg(title, shapes, dims), formulas=(_RULE,),
            snippet=_failing_snippet(shapes), see_also=see_also,
            notes=("Add a dimension of size 1 where an operand should be repeated: x.unsqueeze(dim) or x[:, None].",),
            values={"shapes": shapes, "result": None, "failing_dim": failing.dim, "sizes": failing.sizes},
        )  # fmt: skip
    result = broadcast_shape(shapes=shapes)
    crossed = crossed_dims(shapes=shapes)
    lines = _lines(shapes, dims)
    if meet_as_row_and_column(shapes=shapes):
        lines += ["", *_matrix(shapes, result)]
    return Explanation(
        title=title, result=f"{shape_text(result)}, {prod(result):,} elements", steps=steps,
        diagram="\n".join(lines), svg=_svg(title, shapes, dims), formulas=(_RULE,), see_also=see_also,
        notes=_notes(shapes, result, crossed), snippet=_snippet(shapes, result, crossed),
        values={
            "shapes": shapes, "result": result, "num_elements": prod(result), "crossed_dims": crossed,
            "read_counts": read_counts(shapes=shapes), "row_and_column": meet_as_row_and_column(shapes=shapes),
        },
    )  # fmt: skip


def _name(at: int) -> str:
    return chr(ord("A") + at) if at < 26 else f"#{at + 1}"


def _step(dim: AlignedDim) -> str:
    sizes = ", ".join(
        f"{_name(at)} has none (counts as 1)" if size is None else f"{_name(at)} has {size}"
        for at, size in enumerate(dim.sizes)
    )
    if dim.result is None:
        return f"Dimension {dim.dim}: {sizes}: neither equal nor 1, so this is where it fails."
    stretched = [_name(at) for at, is_stretched in enumerate(dim.stretched) if is_stretched]
    if not stretched:
        return f"Dimension {dim.dim}: {sizes}: {dim.result}."
    return f"Dimension {dim.dim}: {sizes}: {' and '.join(stretched)} {_repeated(dim.result, len(stretched))}."


def _repeated(size: int | None, operands: int) -> str:
    verb = "is" if operands == 1 else "are"
    return f"{verb} emptied: size 0 wins over 1" if size == 0 else f"{verb} repeated {size} times"


def _cells(shapes: list[Shape], dims: tuple[AlignedDim, ...]) -> list[list[str]]:
    """Return a row for each operand and one for the result; 1→n is a 1 that is repeated n times."""
    rows = []
    for at in range(len(shapes)):
        row = []
        for dim in reversed(dims):
            size, stretched = dim.sizes[at], dim.stretched[at]
            own = "·" if size is None else str(size)
            row.append(f"{own}→{dim.result}" if stretched else own)
        rows.append(row)
    rows.append(["✗" if dim.result is None else str(dim.result) for dim in reversed(dims)])
    return rows


def _lines(shapes: list[Shape], dims: tuple[AlignedDim, ...]) -> list[str]:
    cells = _cells(shapes, dims)
    fails = any(dim.result is None for dim in dims)
    reads = [""] * (len(shapes) + 1)
    if not fails:
        reads = [f"  each element is read {n:,} times" for n in read_counts(shapes=shapes)] + [""]
    heads = ["dimension", *(str(dim.dim) for dim in reversed(dims)), ""]
    names = [*(_name(at) for at in range(len(shapes))), "result"]
    table = [heads, *([name, *row, read] for name, row, read in zip(names, cells, reads, strict=True))]
    lines = columns(table, gap=3, align="l" + "r" * len(dims) + "l")
    legend = [
        "1→n: a 1 repeated n times" if any("→" in cell for row in cells for cell in row) else "",
        "·: no such dimension, counts as 1" if any(None in dim.sizes for dim in dims) else "",
        "✗: fails here" if fails else "",
    ]
    shown = "   ".join(part for part in legend if part)
    return [*lines, "", shown] if shown else lines


def _svg(title: str, shapes: list[Shape], dims: tuple[AlignedDim, ...]) -> str:
    marks: dict[tuple[int, int], Mark] = {}
    for column, dim in enumerate(reversed(dims)):
        for row, stretched in enumerate(dim.stretched):
            marks[row, column] = "added" if stretched else "bad" if dim.result is None else "plain"
        marks[len(shapes), column] = "bad" if dim.result is None else "good"
    names = [*(_name(at) for at in range(len(shapes))), "result"]
    heads = [str(dim.dim) for dim in reversed(dims)]
    return grids_svg(title, [Grid(cells=_cells(shapes, dims), heads=heads, names=names, marks=marks)])


def _matrix(shapes: list[Shape], result: Shape) -> list[str]:
    """Draw the first rows and columns of what a column and a row give."""
    column_first = len(shapes[0]) >= 2 and shapes[0][-1] == 1
    down, across = ("a", "b") if column_first else ("b", "a")
    rows, cols = (min(size, _MATRIX) for size in (n for n in result if n != 1))
    cells = [[f"a{r if down == 'a' else c} b{c if down == 'a' else r}" for c in range(cols)] for r in range(rows)]
    grid = Grid(cells=cells, heads=[f"{across}{c}" for c in range(cols)], names=[f"{down}{r}" for r in range(rows)])
    return [f"every element of A meets every element of B ({shape_text(result)}, the corner of it):", *boxes(grid)]


def _notes(shapes: list[Shape], result: Shape, crossed: Shape) -> tuple[str, ...]:
    if not crossed:
        return ()
    if meet_as_row_and_column(shapes=shapes):
        return (
            f"Two vectors meet as row and column and give a matrix of {prod(result):,} elements. In a loss this is "
            "nearly always a mistake: every prediction is compared with every target, the mean hides it, and the "
            "model learns the mean of the targets. Give both the same shape: x.squeeze(-1) or y.unsqueeze(-1).",
        )
    return ("No operand has the shape of the result, all are repeated. Wanted, or is a dimension missing?",)


def _snippet(shapes: list[Shape], result: Shape, crossed: Shape) -> str:
    listed = ", ".join(map(shape_text, shapes))
    lines = ["import torch", "", f"assert torch.broadcast_shapes({listed}) == {shape_text(result)}"]
    if prod(result) < 2**63 and len(shapes) <= 32:
        lines = ["import numpy as np", *lines, f"assert np.broadcast_shapes({listed}) == {shape_text(result)}"]
    if crossed and len(shapes) == 2:
        device = ', device="meta"' if prod(result) > _MAX_COPIED else ""
        lines += [
            "",
            f"a = torch.zeros({shape_text(shapes[0])}{device})",
            f"b = torch.zeros({shape_text(shapes[1])}{device})",
            f"assert (a - b).shape == {shape_text(result)}  # the shape of neither",
        ]
    return "\n".join(lines)


def _failing_snippet(shapes: list[Shape]) -> str:
    return "\n".join([
        "import torch", "", "try:", f"    torch.broadcast_shapes({', '.join(map(shape_text, shapes))})",
        "except RuntimeError as error:", "    print(error)", "else:",
        '    raise AssertionError("these shapes go together after all")',
    ])  # fmt: skip
