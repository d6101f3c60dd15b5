"""Scatter, gather and repeat_interleave on small numbers."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import product
from math import prod
from typing import Any

from trainworthy.errors import UsageError
from trainworthy.explain.arguments import at_least, integers, nested, shape
from trainworthy.explain.drawing import MAX_WIDTH, Grid, Mark, beside, boxes, grids_svg
from trainworthy.explain.explanation import Explanation, Formula
from trainworthy.explain.registry import subject
from trainworthy.formulas.checks import Shape, shape_text, whole_dim
from trainworthy.formulas.index import (
    elements,
    gathered,
    nested_shape,
    repeat_index,
    repeat_interleaved,
    reshaped,
    rule,
    scattered,
    tiled,
    twice_written,
)

_REDUCTIONS = ("sum", "prod", "mean", "amax", "amin")
_MOST_STEPS = 8
_MOST_ELEMENTS = 400  # of a tensor that is written out


def _check_few(**named: object) -> None:
    for name, values in named.items():
        total = prod(nested_shape(values=values))
        if not 1 <= total <= _MOST_ELEMENTS:
            raise UsageError(f"{name} has {total} elements; 1 to {_MOST_ELEMENTS} can be shown.")


def _scatter_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("index", nargs="?", type=nested, metavar="INDEX", help='nested lists, such as "[[2],[0]]"')
    add("--dim", type=int, default=None, metavar="D", help="(default: 1, or 0 for one dimension)")
    add("--src", type=nested, metavar="VALUES", help="what is written: lists, or one number (default: 1, 2, 3, ...)")
    add("--shape", type=shape, metavar="SHAPE", help="shape of self, which holds zeros (default: as needed)")
    add("--reduce", choices=_REDUCTIONS, help="join what goes to one place (scatter_reduce)")


@subject(
    "scatter",
    summary="write elements to places: self[i][index[i][j]] = src[i][j]",
    group="indexing",
    arguments=_scatter_arguments,
    examples=(
        '"[[2],[0],[1]]" --src 1', '"[[0,1,2,0]]" --dim 0 --shape 3,5', '"[0,1,0,2]" --reduce sum',
        '"[[0,0],[1,0]]" --reduce mean',
    ),
    aliases=("scatter-add", "scatter-reduce", "one-hot", "put-along-axis"),
)  # fmt: skip
def scatter(options: argparse.Namespace) -> Explanation:
    """Explain scatter."""
    index: Any = [[0], [2], [1]] if options.index is None else options.index
    wanted = nested_shape(values=index)
    _check_few(index=index)
    dim = _dim(options.dim, wanted)
    source: Any = options.src
    if source is None:
        source = 1 if options.index is None else reshaped(values=range(1, prod(wanted) + 1), shape=wanted)
    largest = max(int(value) for value in elements(values=index)) + 1
    sizes = options.shape or tuple(max(largest, 1) if at == dim else n for at, n in enumerate(wanted))
    if prod(sizes) > _MOST_ELEMENTS:
        raise UsageError(f"self has {prod(sizes):,} elements; at most {_MOST_ELEMENTS} can be shown.")
    zeros = reshaped(values=[0] * prod(sizes), shape=sizes)
    out = scattered(values=zeros, dim=dim, index=index, source=source, reduce=options.reduce, include_self=False)
    twice = twice_written(dim=dim, index=index)
    written = {_target(place, dim, index) for place in product(*map(range, wanted))}
    if not nested_shape(values=source) and options.reduce:
        source = reshaped(values=[source] * prod(wanted), shape=wanted)
    call = _scatter_call(dim, options.reduce)
    title = f"index {shape_text(wanted)} into {shape_text(sizes)} along dim {dim}" + (
        f", reduce {options.reduce}" if options.reduce else ""
    )
    grids = [
        _grid("index", index), _grid("src" if nested_shape(values=source) else f"src = {source}", source),
        _grid("self after", out, strong=written),
    ]  # fmt: skip
    law = rule(name="scatter_add" if options.reduce == "sum" else "scatter", dim=dim, num_dims=len(wanted))
    return Explanation(
        title=title, result=f"self becomes {_short(out)}",
        steps=tuple(_steps(wanted, law, lambda place: _scatter_words(place, dim, index, source))),
        diagram="\n".join(_picture(grids)), svg=grids_svg(title, [g for g in grids if g.cells]),
        formulas=(Formula(text=law, source="docs of torch.Tensor.scatter_, scatter_add_ and scatter_reduce_"),),
        notes=_scatter_notes(twice, options.reduce), see_also=("gather", "repeat-interleave", "broadcast"),
        snippet=_scatter_snippet(sizes, index, source, out, call),
        values={"shape": sizes, "dim": dim, "result": out, "written_twice": twice},
    )  # fmt: skip


def _scatter_call(dim: int, reduce: str | None) -> str:
    if reduce is None:
        return f"x.scatter_({dim}, index, src)"
    return f'x.scatter_reduce_({dim}, index, src, "{reduce}", include_self=False)'


def _scatter_words(place: Shape, dim: int, index: Any, source: Any) -> str:
    value = _get(source, place) if nested_shape(values=source) else source
    return f"src{_brackets(place)} = {value} goes to self{_brackets(_target(place, dim, index))}"


def _scatter_notes(twice: tuple[Shape, ...], reduce: str | None) -> tuple[str, ...]:
    notes = ["The index must be int64 and is not broadcast: expand it to the shape of src first."]
    if twice and reduce is None:
        places = ", ".join(_brackets(place) for place in twice[:4])
        notes.insert(0, f"Written more than once: {places}. Which value stays is not defined (on a GPU it can "
        "change from "
                        "run to run); use scatter_add_ or --reduce.")  # fmt: skip
    if reduce == "mean":
        notes.append("include_self=True, the default of scatter_reduce_, would count the zeros of self, too.")
    return tuple(notes)


def _scatter_snippet(sizes: Shape, index: Any, source: Any, out: Any, call: str) -> str:
    is_float = any(isinstance(value, float) for value in elements(values=out)) or "mean" in call
    dtype = "" if is_float else ", dtype=torch.int64"
    src = f"torch.tensor({source}{dtype or ', dtype=torch.float32'})" if nested_shape(values=source) else str(source)
    return "\n".join([
        "import torch", "", f"x = torch.zeros({shape_text(sizes)}{dtype})", f"index = torch.tensor({index})",
        f"src = {src}", call, *_assertion("x", out, approximate=is_float),
    ])  # fmt: skip


def _assertion(name: str, values: Any, *, approximate: bool = False) -> list[str]:
    """Compare with what is written out, on as many lines as it takes."""
    rows = [str(row) for row in values] if nested_shape(values=values)[1:] else [str(values)]
    compare = "torch.allclose" if approximate else "torch.equal"
    if len(rows) == 1 and not nested_shape(values=values)[1:]:
        expected = [f"expected = torch.tensor({rows[0]})"]
    else:
        expected = ["expected = torch.tensor([", *(f"    {row}," for row in rows), "])"]
    more = f"{name}, expected" + (".float()" if approximate else "")
    return [*expected, f"assert {compare}({more})"]


def _gather_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("index", nargs="?", type=nested, metavar="INDEX", help='nested lists, such as "[[0,0],[1,0]]"')
    add("--dim", type=int, default=None, metavar="D", help="(default: 1, or 0 for one dimension)")
    add("--input", type=nested, metavar="VALUES", help="where to look up (default: 10, 11, ... in rows)")


@subject(
    "gather",
    summary="look elements up: out[i][j] = input[i][index[i][j]]",
    group="indexing",
    arguments=_gather_arguments,
    examples=('"[[0,0],[1,0]]" --input "[[1,2],[3,4]]"', '"[[2],[0],[1]]"', '"[[0,1],[2,0]]" --dim 0', '"[3,1,1]"'),
    aliases=("take-along-dim", "take-along-axis", "index-select"),
)
def gather(options: argparse.Namespace) -> Explanation:
    """Explain gather."""
    index: Any = [[0, 0], [1, 0]] if options.index is None else options.index
    _check_few(index=index)
    wanted = nested_shape(values=index)
    dim = _dim(options.dim, wanted)
    values = options.input
    if values is None:
        largest = max(int(value) for value in elements(values=index)) + 1
        sizes = tuple(max(largest, 2) if at == dim else n for at, n in enumerate(wanted))
        if prod(sizes) > _MOST_ELEMENTS:
            raise UsageError(f"index {largest - 1:,} needs an input of {prod(sizes):,} elements, too many to show.")
        values = reshaped(values=range(10, 10 + prod(sizes)), shape=sizes)
    _check_few(input=values)
    out = gathered(values=values, dim=dim, index=index)
    places = list(product(*map(range, wanted)))
    read = {_target(place, dim, index) for place in places}
    law = rule(name="gather", dim=dim, num_dims=len(wanted))
    title = f"index {shape_text(wanted)} into {shape_text(nested_shape(values=values))} along dim {dim}"
    grids = [_grid("input", values, strong=read), _grid("index", index), _grid("out", out, strong=set(places))]
    full = all(n == m for at, (n, m) in enumerate(zip(wanted, nested_shape(values=values), strict=True)) if at != dim)
    lines = ["import torch", "", f"x = torch.tensor({values})", f"index = torch.tensor({index})"]
    lines += [f"out = torch.gather(x, {dim}, index)", *_assertion("out", out)]
    if full:
        lines.insert(0, "import numpy as np")
        lines += ["", f"theirs = np.take_along_axis(x.numpy(), index.numpy(), axis={dim})"]
        lines += ["assert (theirs == out.numpy()).all()"]
    return Explanation(
        title=title, result=f"{_short(out)}, the shape of the index",
        steps=tuple(_steps(wanted, law, lambda place: _gather_words(place, dim, index, out))),
        diagram="\n".join(_picture(grids)), svg=grids_svg(title, grids),
        formulas=(Formula(text=law, source="docs of torch.gather"),),
        notes=(
            "gather does not broadcast: where index is smaller than input in another dimension, the rest of "
            "input is left "
            "out. numpy.take_along_axis and torch.take_along_dim do broadcast.",
            "The log-probability of each target: logp.gather(1, target.unsqueeze(1)).squeeze(1).",
        ),
        see_also=("scatter", "repeat-interleave"), snippet="\n".join(lines),
        values={"dim": dim, "input": values, "index": index, "result": out},
    )  # fmt: skip


def _gather_words(place: Shape, dim: int, index: Any, out: Any) -> str:
    return f"out{_brackets(place)} = input{_brackets(_target(place, dim, index))} = {_get(out, place)}"


_REPEAT = Formula(
    text="repeat_interleave: a a b b c c      repeat, numpy.tile: a b c a b c\n"
    "numpy.repeat is torch's repeat_interleave; numpy.tile is torch's repeat",
    source="docs of torch.repeat_interleave, torch.Tensor.repeat, numpy.repeat, numpy.tile",
)


def _repeat_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("repeats", nargs="?", type=integers, metavar="N", help="times, or one for each slice, such as 1,2")
    add("--input", type=nested, metavar="VALUES", help='such as "[[1,2],[3,4]]" (default: 1,2,3)')
    add("--dim", type=int, default=None, metavar="D", help="(default: the elements in one row)")
    add("--size", type=at_least(1), metavar="N", help="an input of 1, 2, ..., N")


@subject(
    "repeat-interleave",
    summary="a a b b, where repeat and tile give a b a b",
    group="indexing",
    arguments=_repeat_arguments,
    examples=("2", '1,2 --dim 0 --input "[[1,2],[3,4]]"', "2,0,1 --size 3", '2 --dim 1 --input "[[1,2],[3,4]]"'),
    aliases=("repeat", "tile", "repeat-kv", "expand"),
)
def repeat_interleave(options: argparse.Namespace) -> Explanation:
    """Explain repeat_interleave."""
    values, repeats, dim = _repeat_input(options)
    sizes = nested_shape(values=values)
    source = repeat_index(size=sizes[dim], repeats=repeats)
    out: Any = repeat_interleaved(values=values, repeats=repeats, dim=dim)
    shown: Any = repeats[0] if len(repeats) == 1 else list(repeats)
    times = [shown if at == dim else 1 for at in range(len(sizes))]
    tile = tiled(values=values, repeats=times) if len(repeats) == 1 else None
    title = f"{_short(values)}, repeats {shown}, dim {dim}"
    grids = [_grid("input", values), _grid("repeat_interleave", out)]
    grids += [_grid("repeat (tile)", tile)] if tile is not None else []
    lines = _repeat_lines(values, shown, dim, out)
    if tile is not None:
        lines += ["", f"out = x.repeat({', '.join(map(str, times))})  # another order", *_assertion("out", tile)]
    return Explanation(
        title=title, result=_short(out),
        steps=(
            f"Each slice along dim {dim} is repeated in its place: slices {', '.join(map(str, source))} of the input.",
            f"The size along dim {dim} becomes the sum of the repeats, {len(source)}.",
            "With more dimensions the repeats belong to the slices of that dimension, whatever is in them.",
        ),
        diagram="\n".join(_picture(grids)), svg=grids_svg(title, [grid for grid in grids if grid.cells]),
        formulas=(_REPEAT,),
        notes=(
            "x.repeat(k, 1) beside y.repeat_interleave(k, 0) pairs wrong samples: use the same for both.",
            "expand repeats without a copy, but only dimensions of size 1.",
        ),
        see_also=("gather", "broadcast", "attention"), snippet="\n".join(lines),
        values={"dim": dim, "source_slices": source, "result": out, "repeat": tile},
    )  # fmt: skip


def _repeat_input(options: argparse.Namespace) -> tuple[Any, Shape, int]:
    """Return values, repeats and dim; without a dim the elements in one row, as repeat_interleave does."""
    repeats: Shape = (2,) if options.repeats is None else options.repeats
    if options.size is not None and options.size > 40:
        raise UsageError("--size is for examples that can be read: 40 at most.", where="--size")
    values: Any = options.input if options.input is not None else list(range(1, (options.size or 3) + 1))
    if min(repeats, default=0) < 0 or not repeats:
        raise UsageError(f"repeats must be whole numbers of at least 0, got {shape_text(repeats)}.")
    _check_few(input=values)
    flat = options.dim is None and bool(nested_shape(values=values)[1:])
    if flat or not nested_shape(values=values):
        values = list(elements(values=values))
    sizes = nested_shape(values=values)
    dim = whole_dim("--dim", options.dim or 0, num_dims=len(sizes))
    if max(repeats) * prod(sizes) > _MOST_ELEMENTS:
        raise UsageError(f"More than {_MOST_ELEMENTS} elements would come out; use smaller repeats.")
    return values, repeats, dim


def _repeat_lines(values: Any, shown: Any, dim: int, out: Any) -> list[str]:
    argument = shown if isinstance(shown, int) else f"torch.tensor({shown})"
    return [
        "import numpy as np", "import torch", "", f"x = torch.tensor({values})",
        f"out = x.repeat_interleave({argument}, dim={dim})", *_assertion("out", out),
        f"assert (np.repeat(x.numpy(), {shown}, axis={dim}) == out.numpy()).all()",
    ]  # fmt: skip


# --- shared -------------------------------------------------------------------------------------------------------


def _dim(given: int | None, wanted: Shape) -> int:
    if not wanted:
        raise UsageError("The index must be a list, such as [[0],[2]].", where="INDEX")
    default = 1 if len(wanted) > 1 else 0
    return whole_dim("--dim", default if given is None else given, num_dims=len(wanted))


def _target(place: Shape, dim: int, index: Any) -> Shape:
    return (*place[:dim], _get(index, place), *place[dim + 1 :])


def _get(values: Any, place: Shape) -> Any:
    for at in place:
        values = values[at]
    return values


def _brackets(place: Shape) -> str:
    return "".join(f"[{at}]" for at in place)


def _short(values: Any) -> str:
    text = str(values)
    return text if len(text) <= 90 else f"a tensor of shape {shape_text(nested_shape(values=values))}"


def _steps(wanted: Shape, law: str, words: Callable[[Shape], str]) -> list[str]:
    places = list(product(*map(range, wanted)))
    out = [f"The rule for every place of the index: {law}."]
    out += [f"{words(place)}." for place in places[:_MOST_STEPS]]
    if len(places) > _MOST_STEPS:
        out.append(f"... and {len(places) - _MOST_STEPS} more.")
    return out


def _grid(title: str, values: Any, *, strong: set[Shape] | None = None) -> Grid:
    """Make a grid of one or two dimensions, or of the rows of more."""
    sizes = nested_shape(values=values)
    if not sizes:
        return Grid(cells=[], title=title)
    rows = list(product(*map(range, sizes[:-1])))
    cells = [[_word(_get(values, (*row, at))) for at in range(sizes[-1])] for row in rows]
    marks: dict[tuple[int, int], Mark] = {
        (number, at): "strong"
        for number, row in enumerate(rows)
        for at in range(sizes[-1])
        if (*row, at) in (strong or ())
    }
    names = [_brackets(row) for row in rows] if len(sizes) > 2 else []
    return Grid(cells=cells, title=title, marks=marks, names=names)


def _word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _picture(grids: list[Grid]) -> list[str]:
    blocks = [boxes(grid) for grid in grids]
    lines = beside(*blocks, gap=3)
    if max(map(len, lines)) <= MAX_WIDTH:
        return lines
    return [line for block in blocks for line in [*block, ""]][:-1]
