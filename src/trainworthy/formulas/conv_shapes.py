"""Convolution and pooling in any number of spatial dimensions: output shapes, weights, parameters, unfolding.

Shapes are (N, C, *spatial); each spatial axis follows ``conv`` by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from trainworthy.errors import ShapeError, UsageError
from trainworthy.formulas.checks import Shape, per_axis, shape_text, whole, whole_shape
from trainworthy.formulas.conv import conv_size, pool_size, transposed_size

_AXES = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}


def conv_shape(
    *, shape: Sequence[int], out_channels: int, kernel: int | Sequence[int], stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int] = 0, dilation: int | Sequence[int] = 1, groups: int = 1,
) -> Shape:  # fmt: skip
    """Return the output shape of a convolution in as many dimensions as there are sizes after the channels.

    Shapes:   (N, C, *spatial) -> (N, out_channels, *spatial')
    Exact?    yes
    Source:   torch.nn.Conv1d, Conv2d, Conv3d (torch 2.13)

    >>> conv_shape(shape=(8, 3, 224, 224), out_channels=64, kernel=7, stride=2, padding=3)
    (8, 64, 112, 112)

    Raises:
        ShapeError: If channels do not divide by groups, or a kernel does not fit; the message names the axis.
        UsageError: If a number is no size.
    """
    batch, channels, spatial = _split(shape)
    check_groups(in_channels=channels, out_channels=out_channels, groups=groups)
    axes = len(spatial)
    kernels, strides = _axes("kernel", kernel, axes), _axes("stride", stride, axes)
    pads: Sequence[int | str] = (
        (padding,) * axes if isinstance(padding, str) else per_axis("padding", padding, num_axes=axes)
    )
    rest = zip(spatial, kernels, strides, pads, _axes("dilation", dilation, axes), strict=True)
    out = [
        _on_axis(at, axes, conv_size, size=n, kernel=k, stride=s, padding=p, dilation=d)
        for at, (n, k, s, p, d) in enumerate(rest)
    ]
    return (batch, whole("out_channels", out_channels, minimum=1), *out)


def pool_shape(
    *, shape: Sequence[int], kernel: int | Sequence[int], stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0, dilation: int | Sequence[int] = 1, ceil_mode: bool = False,
) -> Shape:  # fmt: skip
    """Return the output shape of pooling; channels are pooled one by one.

    Shapes:   (N, C, *spatial) -> (N, C, *spatial')
    Exact?    yes
    Source:   torch.nn.MaxPool2d, AvgPool2d (torch 2.13)

    >>> pool_shape(shape=(8, 64, 112, 112), kernel=3, stride=2, padding=1)
    (8, 64, 56, 56)

    Raises:
        ShapeError: If a window does not fit; the message names the axis.
        UsageError: If a number is no size.
    """
    batch, channels, spatial = _split(shape)
    axes = len(spatial)
    kernels = _axes("kernel", kernel, axes)
    strides = kernels if stride is None else _axes("stride", stride, axes)
    pads, dilations = per_axis("padding", padding, num_axes=axes), _axes("dilation", dilation, axes)
    out = [
        _on_axis(at, axes, pool_size, size=n, kernel=k, stride=s, padding=p, dilation=d, ceil_mode=ceil_mode)
        for at, (n, k, s, p, d) in enumerate(zip(spatial, kernels, strides, pads, dilations, strict=True))
    ]
    return (batch, channels, *out)


def transposed_shape(
    *, shape: Sequence[int], out_channels: int, kernel: int | Sequence[int], stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0, output_padding: int | Sequence[int] = 0, dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Shape:  # fmt: skip
    """Return the output shape of a transposed convolution.

    Shapes:   (N, C, *spatial) -> (N, out_channels, *spatial')
    Exact?    yes
    Source:   torch.nn.ConvTranspose1d, ConvTranspose2d, ConvTranspose3d (torch 2.13)

    >>> transposed_shape(shape=(8, 256, 7, 7), out_channels=128, kernel=4, stride=2, padding=1)
    (8, 128, 14, 14)

    Raises:
        ShapeError: If channels do not divide by groups, or a size cannot be; the message names the axis.
        UsageError: If a number is no size.
    """
    batch, channels, spatial = _split(shape)
    check_groups(in_channels=channels, out_channels=out_channels, groups=groups)
    axes = len(spatial)
    rest = zip(
        spatial, _axes("kernel", kernel, axes), _axes("stride", stride, axes),
        per_axis("padding", padding, num_axes=axes), per_axis("output_padding", output_padding, num_axes=axes),
        _axes("dilation", dilation, axes), strict=True,
    )  # fmt: skip
    out = [
        _on_axis(at, axes, transposed_size, size=n, kernel=k, stride=s, padding=p, output_padding=o, dilation=d)
        for at, (n, k, s, p, o, d) in enumerate(rest)
    ]
    return (batch, whole("out_channels", out_channels, minimum=1), *out)


def check_groups(*, in_channels: int, out_channels: int, groups: int) -> None:
    """Check that channels divide by groups; a depthwise convolution has as many groups as input channels.

    Exact?    yes
    Source:   torch.nn.modules.conv, _ConvNd.__init__ (torch 2.13)

    >>> check_groups(in_channels=64, out_channels=128, groups=64)

    Raises:
        ShapeError: If they do not.
        UsageError: If a number is no size.
    """
    groups = whole("groups", groups, minimum=1)
    for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
        if whole(name, channels, minimum=1) % groups:
            raise ShapeError(
                f"{name} {channels} does not divide by groups {groups}.", fix="Each group needs equally many channels."
            )


def conv_weight_shape(
    *, in_channels: int, out_channels: int, kernel: Sequence[int], groups: int = 1, transposed: bool = False
) -> Shape:
    """Return the shape of the weight; a transposed convolution has input channels first.

    Shapes:   (out_channels, in_channels / groups, *kernel), transposed (in_channels, out_channels / groups, *kernel)
    Exact?    yes
    Source:   torch.nn.modules.conv, _ConvNd.__init__ (torch 2.13)

    >>> conv_weight_shape(in_channels=3, out_channels=64, kernel=(7, 7))
    (64, 3, 7, 7)
    >>> conv_weight_shape(in_channels=256, out_channels=128, kernel=(4, 4), groups=2, transposed=True)
    (256, 64, 4, 4)
    """
    check_groups(in_channels=in_channels, out_channels=out_channels, groups=groups)
    first, second = (in_channels, out_channels) if transposed else (out_channels, in_channels)
    return (first, second // groups, *(whole("kernel", size, minimum=1) for size in kernel))


def conv_parameters(
    *, in_channels: int, out_channels: int, kernel: Sequence[int], groups: int = 1, bias: bool = True
) -> int:
    """Count the parameters of a convolution, transposed or not.

    Unit:     parameters
    Exact?    yes
    Source:   ``out_channels * in_channels / groups * prod(kernel) + out_channels``; torch.nn.Conv2d

    >>> conv_parameters(in_channels=3, out_channels=64, kernel=(7, 7), bias=False)
    9408
    """
    shape = conv_weight_shape(in_channels=in_channels, out_channels=out_channels, kernel=kernel, groups=groups)
    return prod(shape) + (out_channels if bias else 0)


def unfolded_shape(
    *, shape: Sequence[int], kernel: int | Sequence[int], stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0, dilation: int | Sequence[int] = 1,
) -> Shape:  # fmt: skip
    """Return the shape of all windows as columns; a convolution is the weight, as a matrix, times these.

    Shapes:   (N, C, *spatial) -> (N, C * prod(kernel), L), L windows
    Exact?    yes
    Source:   torch.nn.Unfold (torch 2.13)

    >>> unfolded_shape(shape=(8, 3, 224, 224), kernel=7, stride=2, padding=3)
    (8, 147, 12544)
    """
    axes = len(shape) - 2
    out = conv_shape(
        shape=shape, out_channels=1, kernel=kernel, stride=stride, padding=padding, dilation=dilation
    )  # fmt: skip
    return (out[0], shape[1] * prod(_axes("kernel", kernel, axes)), prod(out[2:]))


def axis_names(*, num_axes: int) -> tuple[str, ...]:
    """Name the spatial axes.

    >>> axis_names(num_axes=2)
    ('height', 'width')
    """
    return _AXES.get(num_axes) or tuple(f"axis {at}" for at in range(num_axes))


def _split(shape: Sequence[int]) -> tuple[int, int, Shape]:
    checked = whole_shape("the input", shape)
    if len(checked) < 3:
        raise UsageError(f"The input must be (N, C, *spatial), got {shape_text(shape)}.")
    return checked[0], whole("channels", checked[1], minimum=1), checked[2:]


def _axes(name: str, value: int | Sequence[int], num_axes: int) -> Shape:
    return per_axis(name, value, num_axes=num_axes, minimum=1)


def _on_axis(at: int, axes: int, formula: Callable[..., int], **numbers: object) -> int:
    """Apply a formula to one axis, and say which one if it fails."""
    try:
        return formula(**numbers)
    except ShapeError as error:
        name = axis_names(num_axes=axes)[at]
        raise ShapeError(error.message, where=f"{name} (dimension {at - axes})", fix=error.fix) from error
