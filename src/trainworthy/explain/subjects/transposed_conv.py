"""Transposed convolution in three steps."""

from __future__ import annotations

import argparse

from trainworthy.explain.arguments import at_least, per_axis
from trainworthy.explain.drawing import Grid, Mark, beside, boxes, grids_svg
from trainworthy.explain.explanation import Explanation, Formula
from trainworthy.explain.registry import subject
from trainworthy.explain.subjects.conv import code, sizes_argument, spatial_size
from trainworthy.formulas.checks import Shape, shape_text
from trainworthy.formulas.conv import TransposedSteps, transposed_steps
from trainworthy.formulas.conv_shapes import axis_names, conv_parameters, conv_weight_shape, transposed_shape
from trainworthy.formulas.conv_values import transposed_values

_FORMULA = Formula(
    text="out = (in - 1) * s - 2p + d(k - 1) + output_padding + 1\n"
    "1. put s - 1 zeros between neighbours      size (in - 1) * s + 1\n"
    "2. put d(k - 1) - p zeros around           and output_padding more behind\n"
    "3. convolve with the flipped kernel, stride 1, no padding",
    source="Dumoulin and Visin 2016, A guide to convolution arithmetic, section 4.5 and relation 14 "
    "(https://arxiv.org/abs/1603.07285); torch.nn.ConvTranspose2d (torch 2.13)",
)
_MOST_TAPS = 16  # of a kernel, and positions of stride and padding, in the picture of one row
_MOST_SHOWN = 9  # positions of the padded input in a two-dimensional picture


def _arguments(parser: argparse.ArgumentParser) -> None:
    sizes_argument(parser, default="3")
    add = parser.add_argument
    add("--kernel", type=per_axis(minimum=1), default=3, metavar="K", help="(default: 3)")
    add("--stride", type=per_axis(minimum=1), default=2, metavar="S", help="(default: 2)")
    add("--padding", type=per_axis(minimum=0), default=None, metavar="P", help="(default: 0)")
    add("--output-padding", type=per_axis(minimum=0), default=0, metavar="P", help="(default: 0)")
    add("--dilation", type=per_axis(minimum=1), default=1, metavar="D", help="(default: 1)")
    add("--groups", type=at_least(1), default=1, metavar="G", help="(default: 1)")
    add("--in-channels", type=at_least(1), default=None, metavar="C", help="(default: 64, or groups)")
    add("--out-channels", type=at_least(1), default=None, metavar="C", help="(default: 32, or groups)")


@subject(
    "transposed-conv",
    summary="a transposed convolution in three steps, and its size",
    group="layers",
    arguments=_arguments,
    examples=(
        "3 --kernel 3 --stride 2", "7 --kernel 4 --stride 2 --padding 1",
        "112 --kernel 7 --stride 2 --padding 3 --output-padding 1", "4 --kernel 3 --stride 1 --padding 1 --dims 1",
        "8,8,8 --kernel 2 --stride 2 --in-channels 256 --out-channels 128",
    ),
    aliases=("conv-transpose", "convtranspose", "deconvolution", "deconv", "upconv", "conv-transpose2d"),
)  # fmt: skip
def transposed_conv(options: argparse.Namespace) -> Explanation:
    """Explain a transposed convolution."""
    if options.padding is None:
        options.padding = 1 if options.size is None else 0  # the worked example: figure 4.6 of the guide
    spatial = spatial_size(options, default=3)
    axes = len(spatial)
    channels = options.in_channels or (options.groups if options.groups > 1 else 64)
    out_channels = options.out_channels or (options.groups if options.groups > 1 else 32)
    given = (options.batch, channels, *spatial)
    out = transposed_shape(
        shape=given, out_channels=out_channels, kernel=options.kernel, stride=options.stride, padding=options.padding,
        output_padding=options.output_padding, dilation=options.dilation, groups=options.groups,
    )  # fmt: skip
    picked = [_axis(options, spatial, at) for at in range(axes)]
    steps = [transposed_steps(**numbers) for numbers in picked]
    kernel = tuple(numbers["kernel"] for numbers in picked)
    weight = conv_weight_shape(
        in_channels=channels, out_channels=out_channels, kernel=kernel, groups=options.groups, transposed=True
    )
    parameters = conv_parameters(in_channels=channels, out_channels=out_channels, kernel=kernel, groups=options.groups)
    # A plane is drawn of two axes alike.
    planes = _plane_grids(picked[-1], steps[-1]) if axes > 1 and picked[-1] == picked[-2] else []
    title = f"{shape_text(given)}, kernel {options.kernel}, stride {options.stride}, padding {options.padding}"
    title += f", output_padding {options.output_padding}" if options.output_padding else ""
    title += f", dilation {options.dilation}" if options.dilation != 1 else ""
    return Explanation(
        title=title, result=f"{shape_text(out)}, weight {shape_text(weight)}, {parameters:,} parameters",
        steps=tuple(_sentences(picked, steps)), diagram="\n".join(_lines(picked[-1], steps[-1], planes)),
        svg=grids_svg(title, [*planes, _result_grid(picked[-1], steps[-1])] if planes else _row_grids(picked[-1])),
        formulas=(_FORMULA,),
        notes=_notes(picked), snippet=_snippet(options, given, channels, out_channels, out),
        see_also=("conv", "receptive-field"),
        values={
            "input_shape": given, "output_shape": out, "weight_shape": weight, "parameters": parameters,
            "zeros_between": [s.zeros_between for s in steps], "pad": [tuple(s.pad) for s in steps],
            "padded_size": [s.padded for s in steps],
        },
    )  # fmt: skip


def _axis(options: argparse.Namespace, spatial: Shape, at: int) -> dict[str, int]:
    numbers = {"size": spatial[at]}
    for name in ("kernel", "stride", "padding", "output_padding", "dilation"):
        value = getattr(options, name)
        numbers[name] = value if isinstance(value, int) else value[at]
    return numbers


def _sentences(picked: list[dict[str, int]], steps: list[TransposedSteps]) -> list[str]:
    names = axis_names(num_axes=len(picked))
    alike: dict[tuple[int, ...], list[int]] = {}
    for at, numbers in enumerate(picked):
        alike.setdefault(tuple(numbers.values()), []).append(at)
    out = []
    for group in alike.values():
        n, s = picked[group[0]], steps[group[0]]
        name = " and ".join(names[at] for at in group).capitalize()
        zeros = "no zeros" if not s.zeros_between else f"{s.zeros_between} zero{'s' * (s.zeros_between > 1)}"
        out.append(f"{name}: put {zeros} between neighbours: {n['size']} positions become {s.spread}.")
        around = f"{n['dilation']}*({n['kernel']} - 1) - {n['padding']} = {s.pad.before}"
        behind = f" and {n['output_padding']} more behind" if n["output_padding"] else ""
        verb = "Put" if s.pad.before >= 0 else "Cut off (negative)"
        ones = "zero" if abs(s.pad.before) == 1 else "zeros"
        out.append(f"{verb} {around} {ones} on each side{behind}: {s.spread} become {s.padded}.")
        out.append(
            f"Convolve with the flipped kernel, stride 1: {s.padded} - {n['dilation'] * (n['kernel'] - 1)} = "
            f"{s.output}."
        )
    out.append(
        "The same seen from the other side: every input stamps the kernel, times its value, onto the output, one stamp "
        "every stride positions; where stamps overlap they add; padding cuts the rim off."
    )
    return out


def _plane_grids(numbers: dict[str, int], steps: TransposedSteps) -> list[Grid]:
    """Draw two axes alike: input, zeros between, zeros around; empty if too large."""
    if steps.padded > _MOST_SHOWN or min(steps.pad) < 0 or numbers["size"] > 5:
        return []
    size, stride = numbers["size"], numbers["stride"]

    def plane(first: int, total: int) -> tuple[list[list[str]], dict[tuple[int, int], Mark]]:
        cells: list[list[str]] = []
        marks: dict[tuple[int, int], Mark] = {}
        for r in range(total):
            row = []
            for c in range(total):
                i, j = r - first, c - first
                real = i % stride == 0 and j % stride == 0 and 0 <= i // stride < size and 0 <= j // stride < size
                inside = 0 <= i < steps.spread and 0 <= j < steps.spread
                marks[r, c] = "strong" if real else "added" if inside else "faint"
                row.append(f"{i // stride * size + j // stride + 1}" if real else "0" if inside else ".")
            cells.append(row)
        return cells, marks

    spread, padded = plane(0, steps.spread), plane(steps.pad.before, steps.padded)
    start = [[str(r * size + c + 1) for c in range(size)] for r in range(size)]
    return [
        Grid(cells=start, title="input", marks={(r, c): "strong" for r in range(size) for c in range(size)}),
        Grid(cells=spread[0], title=f"1. {steps.zeros_between} between", marks=spread[1]),
        Grid(cells=padded[0], title=f"2. {steps.pad.before} around", marks=padded[1]),
    ]


def _result_grid(numbers: dict[str, int], steps: TransposedSteps) -> Grid:
    """Draw the size of what comes out; the values depend on the kernel."""
    cells = [[""] * steps.output] * steps.output
    marks: dict[tuple[int, int], Mark] = {(r, c): "good" for r in range(steps.output) for c in range(steps.output)}
    kernel = f"{numbers['kernel']}x{numbers['kernel']}"
    return Grid(cells=cells, title=f"3. convolve with {kernel}, flipped", marks=marks)


def _row_values(numbers: dict[str, int]) -> tuple[dict[str, int], list[int], list[int]]:
    """Return a short axis with numbers that show what happens: inputs 1 2 3, taps 1 10 100."""
    short = {**numbers, "size": min(numbers["size"], 4)}
    taps = min(short["kernel"], _MOST_TAPS)
    return short, list(range(1, short["size"] + 1)), [10**tap for tap in range(taps)]


def _row_grids(numbers: dict[str, int]) -> list[Grid]:
    """Carry the three steps out on a short row; nothing if kernel, stride or padding are too large to be shown."""
    short, values, kernel = _row_values(numbers)
    if max(short.values()) > _MOST_TAPS:
        sizes = transposed_steps(**numbers)
        return [
            Grid(cells=[[f"{n:,}"]], title=title)
            for title, n in (
                ("input", numbers["size"]), ("zeros between", sizes.spread), ("zeros around", sizes.padded),
                ("output", sizes.output),
            )
        ]  # fmt: skip
    if len(kernel) > 4 or short["stride"] > 4:
        kernel = [1] * len(kernel)
    found = transposed_values(
        values=values, kernel=kernel, **{k: v for k, v in short.items() if k not in ("size", "kernel")}
    )
    rows = [
        ("input", values), ("1. zeros between", found.spread), ("2. zeros around", found.padded),
        ("   flipped kernel", found.flipped_kernel), ("3. convolved", found.output),
    ]  # fmt: skip
    return [Grid(cells=[[f"{v:g}" for v in row]], title=name) for name, row in rows]


def _lines(numbers: dict[str, int], steps: TransposedSteps, planes: list[Grid]) -> list[str]:
    lines: list[str] = []
    if planes:
        width = max(len(cell or "") for grid in planes for row in grid.cells for cell in row)
        plain = [
            [grid.title, *(" ".join((cell or "").rjust(width) for cell in row) for row in grid.cells)]
            for grid in planes
        ]
        flipped = f"3. convolve {numbers['kernel']}x{numbers['kernel']}"
        after = [flipped, "flipped, stride 1", f"-> {steps.output}x{steps.output}"]
        lines += beside(*plain, after, gap=4)
        lines += ["", "0: put between   .: put around (zeros, too)", ""]
    grids = _row_grids(numbers)
    width = max(len(cell or "") for grid in grids for row in grid.cells for cell in row)
    rows = [[cell or "" for cell in grid.cells[0]] for grid in grids]
    names = max(len(grid.title) for grid in grids)
    body = [
        f"{grid.title:<{names}}  " + " ".join(cell.rjust(width) for cell in row)
        for grid, row in zip(grids, rows, strict=True)
    ]
    short = _row_values(numbers)[0]["size"]
    head = "one row, in numbers" + ("" if short == numbers["size"] else f" (the first {short} of {numbers['size']})")
    if max(map(len, body)) <= 78:
        lines += [head, *body]
    elif not lines:
        sizes = [str(n) for n in (numbers["size"], steps.spread, steps.padded, steps.output)]
        lines += boxes(Grid(cells=[["input", "zeros between", "zeros around", "output"], sizes]))
    return lines


def _notes(picked: list[dict[str, int]]) -> tuple[str, ...]:
    notes = []
    if any(n["kernel"] % n["stride"] for n in picked):
        notes.append(
            "The kernel is no multiple of the stride: outputs get different numbers of stamps, which shows as a "
            "checkerboard (Odena et al., Distill 2016). Kernel 4 with stride 2, or upsampling and a convolution, "
            "does not."
        )
    if any(n["stride"] > 1 for n in picked):
        notes.append(
            "A convolution maps several sizes to one, so the way back is ambiguous: output_padding (or "
            "output_size=) picks; "
            "it adds positions, not zeros to the output."
        )
    notes.append("It restores the size, not the values: it is the gradient of a convolution, not its inverse.")
    return tuple(notes)


def _snippet(options: argparse.Namespace, given: Shape, channels: int, out_channels: int, out: Shape) -> str:
    dims = len(given) - 2
    lines = [
        "import torch", "import torch.nn.functional as F", "", f"up = torch.nn.ConvTranspose{dims}d(",
        f"    {channels}, {out_channels}, kernel_size={code(options.kernel)}, stride={code(options.stride)},",
        f"    padding={code(options.padding)}, output_padding={code(options.output_padding)},",
        f"    dilation={code(options.dilation)}, groups={options.groups}, device=\"meta\",  # shapes, no data", ")",
        f"x = torch.empty({shape_text(given)}, device=\"meta\")", f"assert up(x).shape == {shape_text(out)}",
    ]  # fmt: skip
    numbers = _axis(options, given[2:], dims - 1)
    short, values, kernel = _row_values(numbers)
    steps = transposed_steps(**short)
    if len(kernel) <= 4 and short["stride"] <= 4 and min(steps.pad) >= 0:
        s, p, o, d = (short[name] for name in ("stride", "padding", "output_padding", "dilation"))
        lines += [
            "", "# The three steps on one row give what PyTorch gives.",
            f"x = torch.tensor([[{values}]]).float()", f"w = torch.tensor([[{kernel}]]).float()",
            f"spread = torch.zeros(1, 1, {steps.spread})",
            f"spread[..., ::{s}] = x",
            f"around = F.pad(spread, {tuple(steps.pad)})",
            f"ours = F.conv1d(around, w.flip(-1), dilation={d})",
            "theirs = F.conv_transpose1d(",
            f"    x, w, stride={s}, padding={p}, output_padding={o}, dilation={d}", ")",
            "assert torch.equal(ours, theirs)",
        ]  # fmt: skip
    return "\n".join(lines)
