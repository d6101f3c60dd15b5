"""Output shapes, weights and parameters in 1, 2 and 3 dimensions: PyTorch's layers as oracle, on meta tensors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from trainworthy.errors import ShapeError, UsageError
from trainworthy.formulas.conv_shapes import (
    conv_parameters,
    conv_shape,
    conv_weight_shape,
    pool_shape,
    transposed_shape,
    unfolded_shape,
)

CONVS: dict[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED: dict[int, Any] = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
POOLS: dict[int, Any] = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}


@st.composite
def layers(draw: st.DrawFn) -> tuple[tuple[int, ...], dict[str, Any]]:
    axes = draw(st.integers(1, 3))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    shape = (
        draw(st.integers(1, 3)), groups * draw(st.integers(1, 3)), *(draw(st.integers(1, 12)) for _ in range(axes))
    )  # fmt: skip

    def per_axis(low: int, high: int) -> int | tuple[int, ...]:
        if draw(st.booleans()):
            return draw(st.integers(low, high))
        return tuple(draw(st.integers(low, high)) for _ in range(axes))

    options = {
        "out_channels": groups * draw(st.integers(1, 3)), "kernel": per_axis(1, 4), "stride": per_axis(1, 3),
        "padding": per_axis(0, 2), "dilation": per_axis(1, 3), "groups": groups,
    }  # fmt: skip
    return shape, options


def build(kinds: dict[int, Any], shape: tuple[int, ...], options: dict[str, Any], **more: Any) -> nn.Module:
    rest = {name: value for name, value in options.items() if name not in ("out_channels", "kernel")}
    layer: nn.Module = kinds[len(shape) - 2](
        shape[1], options["out_channels"], options["kernel"], device="meta", **rest, **more
    )
    return layer


@settings(max_examples=200)
@given(layers(), st.booleans())
def test_conv_agrees_with_torch(case: tuple[tuple[int, ...], dict[str, Any]], bias: bool) -> None:
    shape, options = case
    layer = build(CONVS, shape, options, bias=bias)
    kernel = layer.kernel_size
    sizes = {"in_channels": shape[1], "out_channels": options["out_channels"], "groups": options["groups"]}
    assert conv_weight_shape(kernel=kernel, **sizes) == tuple(layer.weight.shape)  # type: ignore[arg-type]
    total = sum(p.numel() for p in layer.parameters())
    assert conv_parameters(kernel=kernel, bias=bias, **sizes) == total  # type: ignore[arg-type]
    try:
        expected = tuple(layer(torch.empty(shape, device="meta")).shape)
    except RuntimeError:
        with pytest.raises(ShapeError):
            conv_shape(shape=shape, **options)
    else:
        assert conv_shape(shape=shape, **options) == expected


@settings(max_examples=200)
@given(layers(), st.integers(0, 2))
def test_transposed_agrees_with_torch(case: tuple[tuple[int, ...], dict[str, Any]], extra: int) -> None:
    shape, options = case
    layer = build(TRANSPOSED, shape, options, output_padding=extra)
    weight = conv_weight_shape(
        in_channels=shape[1], out_channels=options["out_channels"], groups=options["groups"], transposed=True,
        kernel=layer.kernel_size,  # type: ignore[arg-type]
    )  # fmt: skip
    assert weight == tuple(layer.weight.shape)  # type: ignore[arg-type]
    try:
        # On the CPU and with data: the meta device does not check output_padding.
        expected = tuple(layer.to_empty(device="cpu")(torch.empty(shape)).shape)
    except RuntimeError:
        expected = (0,)
    if 0 in expected:  # torch gives an empty result for one position too few, and an error for fewer
        with pytest.raises(ShapeError):
            transposed_shape(shape=shape, output_padding=extra, **options)
    else:
        assert transposed_shape(shape=shape, output_padding=extra, **options) == expected


@settings(max_examples=200)
@given(layers(), st.booleans())
def test_pool_agrees_with_torch(case: tuple[tuple[int, ...], dict[str, Any]], ceil_mode: bool) -> None:
    shape, options = case
    rest = {name: options[name] for name in ("stride", "padding", "dilation")}
    pool = POOLS[len(shape) - 2](options["kernel"], ceil_mode=ceil_mode, **rest)
    try:
        expected = tuple(pool(torch.zeros(shape)).shape)
    except RuntimeError:
        with pytest.raises(ShapeError):
            pool_shape(shape=shape, kernel=options["kernel"], ceil_mode=ceil_mode, **rest)
    else:
        assert pool_shape(shape=shape, kernel=options["kernel"], ceil_mode=ceil_mode, **rest) == expected


@settings(max_examples=200)
@given(layers())
def test_unfold_agrees_with_torch(case: tuple[tuple[int, ...], dict[str, Any]]) -> None:
    shape, options = case
    image = (*shape[:3], shape[-1])
    rest = {name: max(v) if isinstance(v := options[name], tuple) else v for name in ("stride", "padding", "dilation")}
    kernel = max(options["kernel"]) if isinstance(options["kernel"], tuple) else options["kernel"]
    try:
        expected = tuple(nn.Unfold(kernel, **rest)(torch.empty(image)).shape)
    except RuntimeError:
        with pytest.raises(ShapeError):
            unfolded_shape(shape=image, kernel=kernel, **rest)
    else:
        assert unfolded_shape(shape=image, kernel=kernel, **rest) == expected


def test_parameters_of_published_layers() -> None:
    # VGG-16: 1,792 in the first layer, 2,359,808 in those of conv5. MobileNet's depthwise 3x3 on 32 channels: 288.
    assert conv_parameters(in_channels=3, out_channels=64, kernel=(3, 3)) == 1792
    assert conv_parameters(in_channels=512, out_channels=512, kernel=(3, 3)) == 2_359_808
    assert conv_parameters(in_channels=32, out_channels=32, kernel=(3, 3), groups=32, bias=False) == 288


def test_a_failure_names_the_axis() -> None:
    with pytest.raises(ShapeError) as wrong:
        conv_shape(shape=(1, 3, 2, 9), out_channels=4, kernel=5)
    assert wrong.value.where == "height (dimension -2)"
    with pytest.raises(ShapeError, match="in_channels 3 does not divide by groups 2"):
        conv_shape(shape=(1, 3, 8, 8), out_channels=4, kernel=3, groups=2)
    with pytest.raises(ShapeError, match="out_channels 3 does not divide"):
        conv_weight_shape(in_channels=4, out_channels=3, kernel=(3,), groups=2)
    with pytest.raises(UsageError, match="must be \\(N, C, \\*spatial\\)"):
        conv_shape(shape=(3, 8), out_channels=4, kernel=3)
    with pytest.raises(UsageError, match="kernel has 2 entries"):
        conv_shape(shape=(1, 3, 8), out_channels=4, kernel=(3, 3))
    with pytest.raises(ShapeError, match="needs stride 1"):
        conv_shape(shape=(1, 3, 8, 8), out_channels=4, kernel=3, stride=2, padding="same")
    assert conv_shape(shape=(1, 3, 8, 8), out_channels=4, kernel=3, padding="same") == (1, 4, 8, 8)
