"""Strides, and whether a view can have another shape without a copy."""

from __future__ import annotations

import argparse
from itertools import product
from math import prod

from trainworthy.errors import UsageError
from trainworthy.explain.arguments import integers, shape, shape_with_unknown
from trainworthy.explain.drawing import Grid, Mark, boxes, columns, grids_svg
from trainworthy.explain.explanation import Explanation, Formula
from trainworthy.explain.registry import subject
from trainworthy.formulas.checks import Shape, shape_text
from trainworthy.formulas.strides import (
    channels_last_strides,
    contiguous_strides,
    element_offset,
    inferred_shape,
    is_channels_last,
    is_contiguous,
    is_dense,
    normal_index,
    permuted,
    view_groups,
    view_strides,
)

_STRIDE = Formula(
    text="element [i, j, ...] lies at  offset + i * stride[0] + j * stride[1] + ...\n"
    "contiguous: stride[last] = 1, stride[d] = stride[d + 1] * size[d + 1]",
    source="c10/util/strides.h and c10/core/Contiguity.h (torch 2.13); docs of torch.Tensor.stride",
)
_VIEW = Formula(
    text="dimensions d and d + 1 can be walked as one if\n"
    "    stride[d] = size[d + 1] * stride[d + 1]\n"
    "a view may split and merge within such a group, never across two",
    source="ATen/TensorUtils.cpp, computeStride (torch 2.13); docs of torch.Tensor.view",
)
_MOST_CELLS = 16  # of a row of memory in a picture
_MOST_ELEMENTS = 4096  # of which a snippet may make a tensor with data


def _strides_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "shape",
        nargs="?",
        type=shape,
        default=None,
        metavar="SHAPE",
        help='such as "(2,3,4)" (default: a small matrix)',
    )
    add("--permute", type=integers, metavar="DIMS", help="order of dimensions, such as 0,2,1")
    add("--channels-last", action="store_true", help="memory in the order N, H, W, C")
    add("--index", type=integers, metavar="INDEX", help="element to find, such as 1,2,3")


@subject(
    "strides",
    summary="where elements lie in memory; contiguous, channels_last",
    group="shapes",
    arguments=_strides_arguments,
    examples=(
        "2,3 --permute 1,0",
        '"(2,3,4)" --index 1,2,3',
        '"(8,64,56,56)" --channels-last',
        "4,3,2 --permute 2,0,1",
    ),
    aliases=("stride", "contiguous", "channels-last", "permute", "transpose"),
)
def strides(options: argparse.Namespace) -> Explanation:
    """Explain the strides of a tensor."""
    base: Shape = (2, 3) if options.shape is None else options.shape
    order = options.permute
    if options.shape is None and order is None and not options.channels_last:
        order = (1, 0)  # the worked example: a matrix transposed
    layout = channels_last_strides(shape=base) if options.channels_last else contiguous_strides(shape=base)
    sizes, steps = (base, layout) if order is None else permuted(shape=base, strides=layout, order=order)
    last = tuple(size - 1 for size in sizes)
    index = normal_index(index=last if options.index is None else options.index, shape=sizes) if prod(sizes) else None
    contiguous = is_contiguous(shape=sizes, strides=steps)
    offset = None if index is None else element_offset(index=index, strides=steps)
    title = shape_text(base) + (f".permute{shape_text(order)}" if order is not None else "")
    title += " channels_last" if options.channels_last else ""
    return Explanation(
        title=title,
        result=f"shape {shape_text(sizes)}, strides {shape_text(steps)}: {_words(sizes, steps)}",
        steps=tuple(_stride_steps(base, sizes, steps, order, index)),
        diagram="\n".join(_memory_lines(sizes, steps)), svg=_memory_svg(title, sizes, steps), formulas=(_STRIDE,),
        snippet=_stride_snippet(
            _made(base, channels_last=options.channels_last), sizes, steps, order, index
        ), notes=_stride_notes(order, contiguous),
        see_also=("view", "broadcast"),
        values={
            "shape": sizes, "strides": steps, "is_contiguous": contiguous,
            "is_channels_last": is_channels_last(shape=sizes, strides=steps),
            "is_dense": is_dense(shape=sizes, strides=steps), "index": index, "offset": offset,
        },
    )  # fmt: skip


def _words(sizes: Shape, steps: Shape) -> str:
    words = ["contiguous" if is_contiguous(shape=sizes, strides=steps) else "not contiguous"]
    if is_channels_last(shape=sizes, strides=steps):
        words.append("channels_last")
    return ", ".join(words)


def _stride_steps(base: Shape, sizes: Shape, steps: Shape, order: Shape | None, index: Shape | None) -> list[str]:
    out = []
    if order is not None:
        out.append(
            f"Memory stays as it was filled by {shape_text(base)}; only sizes and strides change places: "
            "dimension i of "
            f"the result is dimension {shape_text(order)}[i] of the input."
        )
    for dim in reversed(range(len(sizes))):
        out.append(f"One step along dimension {dim} (size {sizes[dim]}) moves {_elements(steps[dim])} in memory.")
    if not sizes:
        out.append("A scalar has no dimensions: no strides, one element.")
    wanted = contiguous_strides(shape=sizes)
    if is_contiguous(shape=sizes, strides=steps):
        out.append("Read index by index, the last fastest, memory is walked in order: contiguous.")
    else:
        out.append(
            f"Contiguous strides of {shape_text(sizes)} would be {shape_text(wanted)}: not these, so "
            ".contiguous() copies "
            f"and .view() may be impossible."
        )
    if index is not None and sizes:
        offset = element_offset(index=index, strides=steps)
        terms = " + ".join(f"{i}*{s}" for i, s in zip(index, steps, strict=True))
        out.append(f"Element {list(index)} lies at {terms} = {offset:,}.")
    return out


def _elements(count: int) -> str:
    return "1 element" if count == 1 else f"{count:,} elements"


def _stride_notes(order: Shape | None, contiguous: bool) -> tuple[str, ...]:
    notes = ["Strides count elements in PyTorch, bytes in NumPy."]
    if order is not None and not contiguous:
        notes.append(
            "view and reshape do not undo a permute: they read row by row. To move axes use permute or transpose."
        )
    return tuple(notes)


def _memory_grids(sizes: Shape, steps: Shape) -> list[Grid]:
    """Return the tensor, if it is a small matrix, with the place of each element; and memory in a row."""
    if not 1 <= prod(sizes) <= _MOST_CELLS or not 1 <= len(sizes) <= 3:
        return []
    places = {index: element_offset(index=index, strides=steps) for index in product(*map(range, sizes))}
    last_row = {(0, place): "strong" for index, place in places.items() if not any(index[:-1])}
    marks: dict[tuple[int, int], Mark] = dict.fromkeys(last_row, "strong")
    rows = [
        [str(places[(*front, i)]) for i in range(sizes[-1])] for front in product(*map(range, sizes[:-1]))
    ]  # fmt: skip
    names = ["".join(f"[{i}]" for i in front) for front in product(*map(range, sizes[:-1]))] if sizes[1:] else []
    first: dict[tuple[int, int], Mark] = {(0, i): "strong" for i in range(sizes[-1])}
    by_place = {place: "".join(map(str, index)) for index, place in places.items()}
    memory = [[by_place.get(place, "") for place in range(max(places.values()) + 1)]]
    heads = [str(place) for place in range(len(memory[0]))]
    return [
        Grid(cells=rows, names=names, title="the tensor: where each element lies", marks=first),
        Grid(cells=memory, heads=heads, title="memory: which element [i][j] lies at each place", marks=marks),
    ]


def _memory_lines(sizes: Shape, steps: Shape) -> list[str]:
    grids = _memory_grids(sizes, steps)
    if grids:
        lines = [*boxes(grids[0]), "", *boxes(grids[1])]
        if max(map(len, lines)) <= 78:
            return lines
    heads = ["dimension", *map(str, range(len(sizes)))]
    contiguous = contiguous_strides(shape=sizes)
    return columns([heads, ["size", *sizes], ["stride", *steps], ["if contiguous", *contiguous]], gap=3, align="l")


def _memory_svg(title: str, sizes: Shape, steps: Shape) -> str:
    grids = _memory_grids(sizes, steps)
    if grids:
        return grids_svg(title, grids)
    heads = [f"dim {dim}" for dim in range(len(sizes))]
    return grids_svg(
        title, [Grid(cells=[list(map(str, sizes)), list(map(str, steps))], heads=heads, names=["size", "stride"])]
    )


def _made(base: Shape, *, channels_last: bool) -> str:
    """Make the tensor: with its own places as elements where that is possible, else without data."""
    if channels_last:
        layout = "channels_last" + ("_3d" if len(base) == 5 else "")
        return f'torch.empty(\n    {shape_text(base)},\n    memory_format=torch.{layout}, device="meta",\n)'
    if prod(base) > _MOST_ELEMENTS:
        return f'torch.empty({shape_text(base)}, device="meta")'
    return f"torch.arange({prod(base)}).reshape({shape_text(base)})"


def _stride_snippet(made: str, sizes: Shape, steps: Shape, order: Shape | None, index: Shape | None) -> str:
    lines = ["import torch", "", f"x = {made}"]
    if order is not None:
        lines.append(f"x = x.permute({shape_text(order)})")
    lines += [
        f"assert x.shape == {shape_text(sizes)}",
        f"assert x.stride() == {shape_text(steps)}",
        f"assert x.is_contiguous() is {is_contiguous(shape=sizes, strides=steps)}",
    ]
    if "arange" in made and index is not None:
        at = element_offset(index=index, strides=steps)
        lines.append(f"assert x[{', '.join(map(str, index)) or '...'}] == {at}  # it holds its own place in memory")
    return "\n".join(lines)


def _view_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("shape", nargs="?", type=shape, default=None, metavar="SHAPE", help='such as "(2,3,4)"')
    add("to", nargs="?", type=shape_with_unknown, default=None, metavar="NEW", help="new shape; one size may be -1")
    add("--permute", type=integers, metavar="DIMS", help="order of dimensions before, such as 0,2,1")
    add("--strides", type=integers, metavar="STRIDES", help="strides, if not those of a contiguous tensor")


@subject(
    "view",
    summary="can a tensor be viewed in another shape, or is it copied",
    group="shapes",
    arguments=_view_arguments,
    examples=(
        '"(2,3,4)" "(6,4)"', '"(2,3,4)" "(2,12)" --permute 0,2,1', '"(8,12,64)" "(8,3,4,64)"', "3,4 -1,6",
        "4,3 12 --strides 1,4", "0,3 3,0",
    ),
    aliases=("reshape", "view-or-copy", "flatten"),
)  # fmt: skip
def view(options: argparse.Namespace) -> Explanation:
    """Explain view and reshape."""
    base: Shape = options.shape or ((2, 3, 4) if options.shape is None else ())
    order = options.permute
    if options.shape is None and order is None:
        order = (0, 2, 1)  # the worked example: a transposed tensor cannot be flattened without a copy
    wanted = (2, 12) if options.to is None and options.shape is None else (-1,) if options.to is None else options.to
    if options.strides is not None and len(options.strides) != len(base):
        raise UsageError(f"{len(options.strides)} strides for {len(base)} dimensions.", where="--strides")
    if options.strides is not None and min(options.strides, default=0) < 0:
        raise UsageError("PyTorch has no negative strides.", where="--strides")
    layout = contiguous_strides(shape=base) if options.strides is None else options.strides
    sizes, steps = (base, layout) if order is None else permuted(shape=base, strides=layout, order=order)
    to = inferred_shape(shape=sizes, to=wanted)
    found = view_strides(shape=sizes, strides=steps, to=to)
    title = f"{shape_text(sizes)}, strides {shape_text(steps)}, to {shape_text(to)}"
    groups = view_groups(shape=sizes, strides=steps)
    result = f"a view with strides {shape_text(found)}; nothing is copied" if found is not None else (
        "a copy: .view() raises, .reshape() copies"
    )  # fmt: skip
    return Explanation(
        title=title, result=result, steps=tuple(_view_steps(sizes, steps, to, groups, found)),
        diagram="\n".join(_view_lines(sizes, steps, to, found)), svg=_view_svg(title, sizes, steps, to, found),
        formulas=(_VIEW,), snippet=_view_snippet(base, layout, order, to, found),
        notes=(
            "A view shares memory: writing to one writes to the other. After reshape you cannot tell; use view "
            "where it "
            "must be one, and clone where it must not.",
        ),
        see_also=("strides", "broadcast"),
        values={
            "shape": sizes, "strides": steps, "new_shape": to, "is_view": found is not None, "new_strides": found,
            "groups": [{"elements": n, "stride": s} for n, s in groups],
        },
    )  # fmt: skip


def _view_steps(
    sizes: Shape, steps: Shape, to: Shape, groups: tuple[tuple[int, int], ...], found: Shape | None
) -> list[str]:
    out = [f"Both shapes have {prod(sizes):,} elements."]
    for dim in reversed(range(len(sizes) - 1)):
        size, stride, inner = sizes[dim], steps[dim], sizes[dim + 1] * steps[dim + 1]
        if size == 1:
            out.append(f"Dimension {dim} has size 1: its stride {stride} does not count.")
        elif stride == inner:
            out.append(f"Dimensions {dim} and {dim + 1}: {stride} = {sizes[dim + 1]} * {steps[dim + 1]}, one group.")
        else:
            out.append(
                f"Dimensions {dim} and {dim + 1}: {stride} is not {sizes[dim + 1]} * {steps[dim + 1]}, a border."
            )
    listed = ", ".join(f"{_elements(n)} with stride {s}" for n, s in groups)
    out.append(f"So there {'is 1 group' if len(groups) == 1 else f'are {len(groups)} groups'}: {listed}.")
    if found is not None:
        out.append(f"The sizes {shape_text(to)} fill the groups one after the other without crossing a border.")
    else:
        out.append(f"No way to fill the groups with {shape_text(to)}: a size would have to cross a border.")
    return out


def _view_table(sizes: Shape, steps: Shape, to: Shape, found: Shape | None) -> list[list[str]]:
    return [
        ["shape", *map(str, sizes)], ["stride", *map(str, steps)], ["new shape", *map(str, to)],
        ["new stride", *(map(str, found) if found is not None else ["?"] * len(to))],
    ]  # fmt: skip


def _view_lines(sizes: Shape, steps: Shape, to: Shape, found: Shape | None) -> list[str]:
    """Draw sizes with | between groups that cannot be walked as one."""
    table = _view_table(sizes, steps, to, found)
    for row in table[:2]:
        for dim in range(len(sizes) - 1, 0, -1):
            border = sizes[dim - 1] != 1 and steps[dim - 1] != sizes[dim] * steps[dim]
            row.insert(dim + 1, "|" if border else " ")
    before = columns(table[:2], gap=2, align="l")
    after = columns(table[2:], gap=2, align="l")
    legend = ["", "|: a border, memory jumps here"] if "|" in table[0] else []
    return [*before, "", *after, *legend]


def _view_svg(title: str, sizes: Shape, steps: Shape, to: Shape, found: Shape | None) -> str:
    table = _view_table(sizes, steps, to, found)
    marks: dict[tuple[int, int], Mark] = {(1, at): "good" if found is not None else "bad" for at in range(len(to))}
    return grids_svg(title, [
        Grid(cells=[row[1:] for row in table[:2]], names=["size", "stride"], title="before"),
        Grid(cells=[row[1:] for row in table[2:]], names=["size", "stride"], title="after", marks=marks),
    ])  # fmt: skip


def _view_snippet(base: Shape, layout: Shape, order: Shape | None, to: Shape, found: Shape | None) -> str:
    made = f"torch.empty({shape_text(base)}" + (', device="meta")' if prod(base) > _MOST_ELEMENTS else ")")
    if layout != contiguous_strides(shape=base):
        made = f'torch.empty_strided({shape_text(base)}, {shape_text(layout)}, device="meta")'
    lines = ["import torch", "", f"x = {made}" + (f".permute({shape_text(order)})" if order is not None else "")]
    if found is not None:
        lines.append(f"assert x.view({shape_text(to)}).stride() == {shape_text(found)}")
        return "\n".join(lines)
    lines += [
        "try:", f"    x.view({shape_text(to)})", "except RuntimeError as error:", "    print(error)", "else:",
        '    raise AssertionError("it is a view after all")',
    ]  # fmt: skip
    if 'device="meta"' not in made:
        lines.append(f"assert x.reshape({shape_text(to)}).data_ptr() != x.data_ptr()  # copied")
    return "\n".join(lines)
