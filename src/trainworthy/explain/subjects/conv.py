"""Convolution and pooling."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from trainworthy.errors import UsageError
from trainworthy.explain.arguments import at_least, per_axis, shape
from trainworthy.explain.drawing import Grid, Mark, grids_svg
from trainworthy.explain.explanation import Explanation, Formula
from trainworthy.explain.registry import subject
from trainworthy.formulas.checks import Shape, shape_text
from trainworthy.formulas.conv import Pad, axis_padding, conv_size, pool_size, reach
from trainworthy.formulas.conv_shapes import (
    axis_names,
    conv_parameters,
    conv_shape,
    conv_weight_shape,
    pool_shape,
)

_CONV = Formula(
    text="out = floor((in + 2p - d(k - 1) - 1) / s) + 1        for each spatial axis\n"
    "parameters = out_channels * in_channels / groups * prod(k) + out_channels\n"
    "same: p = d(k - 1) in all, half of it in front, the odd one behind; s = 1",
    source="Dumoulin and Visin 2016, A guide to convolution arithmetic, relation 15 "
    "(https://arxiv.org/abs/1603.07285); "
    "torch.nn.Conv2d (torch 2.13)",
)
_POOL = Formula(
    text="out = floor((in + 2p - d(k - 1) - 1) / s) + 1        s = k if not given\n"
    "ceil_mode: ceil instead of floor, less a last window that would start\n"
    "           beyond the input and the padding before it",
    source="ATen/native/Pool.h, pooling_output_shape (torch 2.13)",
)
_MOST_CELLS = 17  # positions in the picture of one axis


def sizes_argument(parser: argparse.ArgumentParser, *, default: str) -> None:
    """Add the spatial sizes, one number or one for each axis."""
    parser.add_argument(
        "size", nargs="?", type=shape, metavar="SIZE", help=f"spatial size, such as 224 or 224,224 (default: {default})"
    )
    parser.add_argument(
        "--dims", type=int, choices=(1, 2, 3), help="spatial dimensions, if SIZE is one number (default: 2)"
    )
    parser.add_argument("--batch", type=at_least(1), default=1, metavar="N", help="samples (default: 1)")


def spatial_size(options: argparse.Namespace, *, default: int) -> Shape:
    """Return a size for each axis.

    Raises:
        UsageError: If there are not 1 to 3 axes, or sizes and --dims disagree.
    """
    given: Shape = options.size if options.size is not None else (default,)
    if len(given) == 1:
        given = given * (options.dims or 2)
    if not 1 <= len(given) <= 3 or (options.dims and len(given) != options.dims):
        raise UsageError(
            f"{len(given)} sizes {shape_text(given)}; 1, 2 or 3 spatial axes can be explained.", where="SIZE"
        )
    if 0 in given:
        raise UsageError(f"A size of 0 in {shape_text(given)}: there is nothing to slide over.", where="SIZE")
    return given


def padding(text: str) -> int | Shape | str:
    """Read --padding: a number, one for each axis, same or valid."""
    return text if text in ("same", "valid") else per_axis(minimum=0)(text)


def code(value: object) -> str:
    """Write an option as Python does."""
    return repr(value)


def _conv_arguments(parser: argparse.ArgumentParser) -> None:
    sizes_argument(parser, default="224")
    add = parser.add_argument
    add("--kernel", type=per_axis(minimum=1), default=None, metavar="K", help="(default: 3)")
    add("--stride", type=per_axis(minimum=1), default=1, metavar="S", help="(default: 1)")
    add("--padding", type=padding, default=0, metavar="P", help="a number, same or valid (default: 0)")
    add("--dilation", type=per_axis(minimum=1), default=1, metavar="D", help="(default: 1)")
    add("--groups", type=at_least(1), default=1, metavar="G", help="(default: 1)")
    add("--in-channels", type=at_least(1), default=None, metavar="C", help="(default: 3, or groups)")
    add("--out-channels", type=at_least(1), default=None, metavar="C", help="(default: 64, or groups)")
    add("--no-bias", action="store_true", help="without bias")


@subject(
    "conv",
    summary="output size, windows and parameters of a convolution",
    group="layers",
    arguments=_conv_arguments,
    examples=(
        "224 --kernel 7 --stride 2 --padding 3", "8 --kernel 3 --stride 2 --dims 1",
        "32 --kernel 3 --padding same --dilation 2 --groups 16",
        "16,112,112 --kernel 3,7,7 --stride 1,2,2 --padding 1,3,3",
        "6 --kernel 4 --padding same --dims 1 --no-bias",
    ),
    aliases=("convolution", "conv1d", "conv2d", "conv3d", "dilated-conv", "depthwise", "grouped-conv"),
)  # fmt: skip
def conv(options: argparse.Namespace) -> Explanation:
    """Explain a convolution."""
    if options.kernel is None:  # the worked example: the stem of ResNet
        options.kernel = 3
        if options.size is None:
            options.kernel, options.stride, options.padding = 7, 2, 3
    spatial = spatial_size(options, default=224)
    axes = len(spatial)
    grouped = options.groups > 1
    channels = options.in_channels or (options.groups if grouped else 3)
    out_channels = options.out_channels or (options.groups if grouped else 64)
    given = (options.batch, channels, *spatial)
    out = conv_shape(
        shape=given, out_channels=out_channels, kernel=options.kernel, stride=options.stride, padding=options.padding,
        dilation=options.dilation, groups=options.groups,
    )  # fmt: skip
    kernel = _spread(options.kernel, axes)
    weight = conv_weight_shape(in_channels=channels, out_channels=out_channels, kernel=kernel, groups=options.groups)
    parameters = conv_parameters(
        in_channels=channels, out_channels=out_channels, kernel=kernel, groups=options.groups, bias=not options.no_bias
    )
    windows = _windows(spatial, options)
    steps = _sentences(windows)
    steps.append(_parameter_step(channels, out_channels, kernel, options.groups, parameters, bias=not options.no_bias))
    title = f"{shape_text(given)}, {_options_text(options)}"
    return Explanation(
        title=title, result=f"{shape_text(out)}, weight {shape_text(weight)}, {parameters:,} parameters",
        steps=tuple(steps), diagram="\n".join(windows[-1].lines()), svg=grids_svg(title, windows[-1].grids()),
        formulas=(_CONV,), notes=_conv_notes(windows, options), see_also=("transposed-conv", "pool", "receptive-field"),
        snippet=_conv_snippet(options, given, out, parameters),
        values={
            "input_shape": given, "output_shape": out, "weight_shape": weight, "parameters": parameters,
            "reach": [axis.reach for axis in windows], "unread_positions": [axis.unread for axis in windows],
        },
    )  # fmt: skip


def _spread(value: int | Sequence[int], axes: int) -> Shape:
    return (value,) * axes if isinstance(value, int) else tuple(value)


def _options_text(options: argparse.Namespace) -> str:
    parts = [f"kernel {options.kernel}", f"stride {options.stride}", f"padding {options.padding}"]
    parts += [f"dilation {options.dilation}"] if options.dilation != 1 else []
    parts += [f"groups {options.groups}"] if getattr(options, "groups", 1) != 1 else []
    parts += ["ceil_mode"] if getattr(options, "ceil_mode", False) else []
    return ", ".join(parts)


class _Axis:
    """One spatial axis: its numbers in a sentence, and its windows in a picture."""

    def __init__(
        self, *, name: str, size: int, kernel: int, stride: int, pad: Pad, dilation: int, out: int, weighted: bool
    ) -> None:
        self.name, self.size, self.kernel, self.stride, self.pad = name, size, kernel, stride, pad
        self.dilation, self.out, self.weighted = dilation, out, weighted
        self.key = (size, kernel, stride, pad, dilation)
        self.reach = reach(kernel=kernel, dilation=dilation)
        used = (out - 1) * stride + self.reach
        self.unread = max(pad.before + size + pad.after - used, 0)
        self.beyond = max(used - (pad.before + size + pad.after), 0)

    def sentence(self, name: str) -> str:
        """Say how the output size comes about, for one axis or several alike."""
        pads = f"2*{self.pad.before}" if self.pad.before == self.pad.after else f"{self.pad.before} + {self.pad.after}"
        room = self.size + self.pad.before + self.pad.after - self.reach
        rounding = "floor" if not self.beyond else "ceil"
        text = (
            f"{name.capitalize()}: the kernel reaches over {self.dilation}*({self.kernel} - 1) + 1 = {self.reach} "
            f"positions; {rounding}(({self.size} + {pads} - {self.reach}) / {self.stride}) + 1 = "
            f"{rounding}({room} / {self.stride}) + 1 = {self.out}."
        )
        if self.unread:
            lost = "position" if self.unread == 1 else f"{self.unread} positions"
            of_padding = " (padding)" if self.unread <= self.pad.after else ""
            text += f" No window reads the last {lost}{of_padding}."
        return text

    def grids(self) -> list[Grid]:
        """Draw the padded axis, and below it the first and last windows."""
        total = self.pad.before + self.size + self.pad.after + self.beyond
        shown = min(total, _MOST_CELLS)
        positions = [at - self.pad.before for at in range(shown)]
        tap_name = "w" if self.weighted else "x"
        cells = [[self._word(at) for at in positions]]
        marks: dict[tuple[int, int], Mark] = {
            (0, column): "added" for column, at in enumerate(positions) if not 0 <= at < self.size
        }
        names = ["input"]
        outputs = [
            o for o in range(min(self.out, 3)) if o * self.stride + self.reach <= shown or o == 0
        ]  # fmt: skip
        if self.out > 3 and total <= _MOST_CELLS:
            outputs.append(self.out - 1)
        for row, output in enumerate(outputs, start=1):
            taps = {at: tap for at in positions if (tap := self._tap(output, at)) is not None}
            cells.append([f"{tap_name}{taps[at]}" if at in taps else "" for at in positions])
            names.append(f"out {output}")
            marks |= {(row, column): "strong" for column, at in enumerate(positions) if at in taps}
        title = f"{self.name}: which inputs an output reads" + (
            "" if shown == total else f" (first {shown} of {total})"
        )
        return [Grid(cells=cells, names=names, title=title, marks=marks)]

    def lines(self) -> list[str]:
        """Draw the same in text, without frames between rows."""
        grid = self.grids()[0]
        width = max(len(cell or "") for row in grid.cells for cell in row)
        names = max(map(len, grid.names))
        rows = [
            f"{name:<{names}}  " + " ".join((cell or ".").rjust(width) for cell in row)
            for name, row in zip(grid.names, grid.cells, strict=True)
        ]
        legend = [
            "p: padding" if any(self.pad) else "", "~: beyond the end" if self.beyond else "",
            "w0, w1, ...: taps of the kernel" if self.weighted else "x0, x1, ...: what is pooled",
        ]  # fmt: skip
        return [grid.title, "", *rows, "", "   ".join(part for part in legend if part)]

    def _tap(self, output: int, at: int) -> int | None:
        """Return which tap of the kernel lies at an input position; the kernel may be too long to list."""
        tap, between = divmod(at + self.pad.before - output * self.stride, self.dilation)
        return tap if not between and 0 <= tap < self.kernel else None

    def _word(self, at: int) -> str:
        if at >= self.size + self.pad.after:
            return "~"
        return str(at) if 0 <= at < self.size else "p"


def _windows(spatial: Shape, options: argparse.Namespace) -> list[_Axis]:
    axes = len(spatial)
    names = axis_names(num_axes=axes)
    kernels, dilations = _spread(options.kernel, axes), _spread(options.dilation, axes)
    strides = kernels if options.stride is None else _spread(options.stride, axes)
    paddings = (options.padding,) * axes if isinstance(options.padding, (int, str)) else options.padding
    found = []
    for name, size, k, s, p, d in zip(names, spatial, kernels, strides, paddings, dilations, strict=True):
        pad = axis_padding(padding=p, kernel=k, dilation=d)
        if hasattr(options, "ceil_mode"):
            out = pool_size(size=size, kernel=k, stride=s, padding=p, dilation=d, ceil_mode=options.ceil_mode)
        else:
            out = conv_size(size=size, kernel=k, stride=s, padding=p, dilation=d)
        weighted = not hasattr(options, "ceil_mode")
        found.append(
            _Axis(name=name, size=size, kernel=k, stride=s, pad=pad, dilation=d, out=out, weighted=weighted)
        )  # fmt: skip
    return found


def _sentences(axes: list[_Axis]) -> list[str]:
    """Say how each size comes about; axes that are alike share a sentence."""
    alike: dict[object, list[_Axis]] = {}
    for axis in axes:
        alike.setdefault(axis.key, []).append(axis)
    return [group[0].sentence(" and ".join(axis.name for axis in group)) for group in alike.values()]


def _parameter_step(
    channels: int, out_channels: int, kernel: Shape, groups: int, parameters: int, *, bias: bool
) -> str:
    field = "*".join(map(str, kernel))
    inputs = f"{channels}/{groups}" if groups > 1 else str(channels)
    text = (
        f"Parameters: {out_channels} * {inputs} * {field}"
        + (f" + {out_channels}" if bias else "")
        + f" = {parameters:,}"
    )
    if groups > 1:
        kind = "depthwise: each output channel sees one input channel" if groups == channels else (
            f"each output channel sees {channels // groups} input channels"
        )  # fmt: skip
        text += f"; {kind}"
    return text + "."


def _conv_notes(windows: list[_Axis], options: argparse.Namespace) -> tuple[str, ...]:
    notes = []
    if any(axis.unread for axis in windows):
        worst = max(windows, key=lambda axis: axis.unread)
        notes.append(
            f"(in + padding - reach) is not a multiple of the stride: {worst.unread + 1} input sizes give the "
            "same output "
            "size, so a transposed convolution needs output_padding to get back."
        )
    if options.padding == "same" and any(axis.pad.before != axis.pad.after for axis in windows):
        notes.append("An even kernel cannot be padded evenly: PyTorch copies the input to pad it by one more behind.")
    return tuple(notes)


def _conv_snippet(options: argparse.Namespace, given: Shape, out: Shape, parameters: int) -> str:
    dims = len(given) - 2
    lines = [
        "import torch", "", f"conv = torch.nn.Conv{dims}d(",
        f"    {given[1]}, {out[1]}, kernel_size={code(options.kernel)}, stride={code(options.stride)},",
        f"    padding={code(options.padding)}, dilation={code(options.dilation)}, groups={options.groups},",
        f"    bias={not options.no_bias}, device=\"meta\",  # shapes without data", ")",
        f"x = torch.empty({shape_text(given)}, device=\"meta\")", f"assert conv(x).shape == {shape_text(out)}",
        f"assert sum(p.numel() for p in conv.parameters()) == {parameters}",
    ]  # fmt: skip
    return "\n".join(lines)


def _pool_arguments(parser: argparse.ArgumentParser) -> None:
    sizes_argument(parser, default="112")
    add = parser.add_argument
    add("--kernel", type=per_axis(minimum=1), default=None, metavar="K", help="(default: 2)")
    add("--stride", type=per_axis(minimum=1), default=None, metavar="S", help="(default: the kernel)")
    add("--padding", type=per_axis(minimum=0), default=0, metavar="P", help="(default: 0)")
    add("--dilation", type=per_axis(minimum=1), default=1, metavar="D", help="(default: 1)")
    add("--ceil-mode", action="store_true", help="round up: a last window may hang over the end")
    add("--channels", type=at_least(1), default=64, metavar="C", help="(default: 64)")


@subject(
    "pool",
    summary="output size and windows of pooling; ceil_mode",
    group="layers",
    arguments=_pool_arguments,
    examples=("112 --kernel 3 --stride 2 --padding 1", "7 --kernel 2 --dims 1", "7 --kernel 2 --dims 1 --ceil-mode"),
    aliases=("pooling", "max-pool", "avg-pool", "maxpool", "avgpool", "ceil-mode"),
)
def pool(options: argparse.Namespace) -> Explanation:
    """Explain pooling."""
    if options.kernel is None:
        options.kernel = 2
        if options.size is None:
            options.kernel, options.stride, options.padding = 3, 2, 1
    spatial = spatial_size(options, default=112)
    given = (options.batch, options.channels, *spatial)
    out = pool_shape(
        shape=given, kernel=options.kernel, stride=options.stride, padding=options.padding, dilation=options.dilation,
        ceil_mode=options.ceil_mode,
    )  # fmt: skip
    windows = _windows(spatial, options)
    options.stride = options.kernel if options.stride is None else options.stride
    title = f"{shape_text(given)}, {_options_text(options)}"
    notes = ["Max pooling pads with -inf, average pooling with 0 (and counts it, unless count_include_pad=False)."]
    if any(axis.unread for axis in windows):
        notes.append("Positions at the end are dropped; ceil_mode=True or padding keeps them.")
    return Explanation(
        title=title, result=f"{shape_text(out)}, no parameters", steps=tuple(_sentences(windows)),
        diagram="\n".join(windows[-1].lines()), svg=grids_svg(title, windows[-1].grids()), formulas=(_POOL,),
        notes=tuple(notes), see_also=("conv", "receptive-field"),
        snippet="\n".join([
            "import torch", "", f"pool = torch.nn.MaxPool{len(spatial)}d(",
            f"    {code(options.kernel)}, stride={code(options.stride)}, padding={code(options.padding)},",
            f"    dilation={code(options.dilation)}, ceil_mode={options.ceil_mode},", ")",
            f"x = torch.empty({shape_text(given)}, device=\"meta\")", f"assert pool(x).shape == {shape_text(out)}",
        ]),
        values={
            "input_shape": given, "output_shape": out, "parameters": 0,
            "unread_positions": [axis.unread for axis in windows],
        },
    )  # fmt: skip
