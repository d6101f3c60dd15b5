"""What the kernels of a convolution do on a GPU: an implicit product, forward and both gradients.

Forward, ``y (n k) = x (n c r s) . w (c r s k)`` is a product whose rows are the pixels of the result; the gradient of
the input has the pixels of the input as rows; that of the weight has ``c r s`` rows and sums over all pixels, cut into
parts that are added up (split-k). A convolution in as many groups as channels is no product: its kernel does its few
multiply-adds outside the matrix units and is bound by memory, most of all for the gradient of the weight.

Source:   NVIDIA, "Convolutional layers user's guide" (implicit GEMM dimensions of the three passes; channels in
          multiples of 8 for fp16 and 4 for TF32)
"""

from __future__ import annotations

from math import prod, sqrt
from typing import Literal, NamedTuple

from trainworthy.estimate.kernel_work import (
    Gemm,
    KernelWork,
    Kind,
    element_bytes,
    padded_gemm_flops,
    tensor_bytes,
)
from trainworthy.estimate.op_classes import LAID_OUT, base_name
from trainworthy.tape.record import Signature, TensorMeta

Pass = Literal["forward", "dgrad", "wgrad"]
_DENSE: dict[Pass, Kind] = {"forward": "conv_forward", "dgrad": "conv_dgrad", "wgrad": "conv_wgrad"}
_GROUPED: dict[Pass, Kind] = {"forward": "grouped_forward", "dgrad": "grouped_dgrad", "wgrad": "grouped_wgrad"}
_DEPTHWISE: dict[Pass, Kind] = {
    "forward": "depthwise_forward", "dgrad": "depthwise_dgrad", "wgrad": "depthwise_wgrad",
}  # fmt: skip

# A tile of a grouped kernel holds this many channels of one or several groups and multiplies them all.
_GROUP_TILE = 32
_MANY_GROUPS = 24
# Width of a group, in channels, at which the general kernel's rate is stated; it falls with the root of the width.
_WIDE_GROUP = 256


class Conv(NamedTuple):
    """Sizes of a convolution: images, pixels in and out, channels, groups, taps of the kernel."""

    images: int
    pixels_in: int
    pixels_out: int
    channels_in: int
    channels_out: int
    groups: int
    taps: int
    dtype: str
    channels_last: bool
    bytes_x: int
    bytes_y: int
    bytes_w: int
    dimensions: int


def conv_work(signature: Signature, *, sm_count: int) -> tuple[KernelWork, ...]:
    """Describe ``convolution`` and ``convolution_backward`` (of which only the gradients asked for)."""
    backward = base_name(signature.name).endswith("backward")
    if backward:
        grad, x, w = signature.inputs[:3]
        wanted: list[Pass] = []
        shapes = [tuple(t.shape) for t in signature.outputs]
        if tuple(x.shape) in shapes:
            wanted.append("dgrad")
        if tuple(w.shape) in shapes or not shapes:
            wanted.append("wgrad")
        conv = _conv(x, w, grad, signature)
        bias = (
            [KernelWork("reduction", 0.0, tensor_bytes(grad), 1, grad.dtype, "vector")] if _has_bias(signature) else []
        )
        return (*(_pass_work(conv, which, sm_count=sm_count) for which in wanted), *bias)
    x, w = signature.inputs[:2]
    out = signature.outputs[0]
    # cuDNN's convolution knows no bias: PyTorch adds it, and sums its gradient, in kernels of their own.
    bias = (
        [KernelWork("elementwise", 0.0, 2 * tensor_bytes(out), 1, out.dtype, "vector")] if _has_bias(signature) else []
    )
    return (_pass_work(_conv(x, w, out, signature), "forward", sm_count=sm_count), *bias)


def _has_bias(signature: Signature) -> bool:
    given = signature.outputs if base_name(signature.name).endswith("backward") else signature.inputs[2:3]
    return not signature.name.endswith(LAID_OUT) and any(len(meta.shape) == 1 for meta in given)


def _conv(x: TensorMeta, w: TensorMeta, y: TensorMeta, signature: Signature) -> Conv:
    transposed = _is_transposed(x, w, y)
    if transposed:  # its forward is the gradient of a convolution from y to x, of the same cost
        x, y = y, x
    groups = max(1, x.shape[1] // max(w.shape[1], 1))
    last = _is_channels_last(x) or prod(x.shape[2:]) == 1 or signature.name.endswith(LAID_OUT)
    return Conv(
        images=x.shape[0], pixels_in=prod(x.shape[2:]), pixels_out=prod(y.shape[2:]), channels_in=x.shape[1],
        channels_out=y.shape[1], groups=groups, taps=prod(w.shape[2:]), dtype=w.dtype,
        channels_last=last, bytes_x=tensor_bytes(x), bytes_y=tensor_bytes(y),
        bytes_w=tensor_bytes(w), dimensions=len(w.shape) - 2,
    )  # fmt: skip


def _is_transposed(x: TensorMeta, w: TensorMeta, y: TensorMeta) -> bool:
    """Tell by the channels: a weight is (out, in / groups, ...), a transposed one (in, out / groups, ...)."""
    return w.shape[0] != y.shape[1] and w.shape[0] == x.shape[1]


def _is_channels_last(meta: TensorMeta) -> bool:
    return len(meta.stride) > 1 and meta.stride[1] == 1 and len(meta.shape) > 2


def _pass_work(conv: Conv, which: Pass, *, sm_count: int) -> KernelWork:
    if conv.groups > 1 and conv.groups == conv.channels_in:
        return _depthwise(conv, which)
    width = element_bytes(conv.dtype)
    multiple = max(1, 16 // width) if width <= 4 else 1
    rows = conv.images * (conv.pixels_in if which == "dgrad" else conv.pixels_out)
    c, k = _up(conv.channels_in, multiple), _up(conv.channels_out, multiple)
    if conv.groups > 1:
        return _grouped(conv, which, sm_count=sm_count)
    taps = conv.taps * (conv.pixels_out / conv.pixels_in if which == "dgrad" and conv.taps > 1 else 1.0)
    if which == "forward":
        gemm = Gemm(1, rows, k, round(c * conv.taps))
    elif which == "dgrad":
        gemm = Gemm(1, rows, c, max(1, round(k * taps)))
    else:
        gemm = Gemm(1, round(c * conv.taps), k, rows)
    moved = conv.bytes_x + conv.bytes_y + conv.bytes_w
    # Channels that are no multiple of 16 bytes are padded by a copy, and other layouts are brought to channels-last.
    if conv.channels_in % multiple:
        moved += 2 * conv.bytes_x
    if conv.channels_out % multiple:
        moved += 2 * conv.bytes_y
    turned = 0 if conv.channels_last else 2 * (conv.bytes_x + conv.bytes_y)
    flops = padded_gemm_flops(gemm, sm_count=sm_count)
    return KernelWork(_kind(conv, which), flops, moved, 1, conv.dtype, turned_bytes=turned, saving=_saving(conv))


def _saving(conv: Conv) -> float:
    """Return how much cuDNN's Winograd and FFT kernels save of a direct convolution in float32.

    Source:   Lavin and Gray, "Fast algorithms for convolutional neural networks", 2015: F(2x2, 3x3) needs 2.25 times
              fewer multiplications; transforms take a part of that. There are such kernels for planes and lines, not
              for volumes, and not for strides.
    """
    if conv.dimensions == 3 or conv.taps < 3 or conv.pixels_in > 1.5 * conv.pixels_out or conv.groups > 1:
        return 1.0
    return 2.0


def _kind(conv: Conv, which: Pass) -> Kind:
    if conv.channels_in <= 4:
        return "conv_stem"
    if conv.taps == 1:
        return "conv_1x1"
    return _DENSE[which]


# PyTorch's own depthwise kernels, which run where images are not channels-last, against cuDNN's that the shares are of:
# benchmarks/results/gpu_step_time_h200-sxm-141gb.json. Channels-last goes to cuDNN (``use_cudnn_depthwise``).
_NATIVE_DEPTHWISE: dict[Pass, float] = {"forward": 11.0, "dgrad": 10.0, "wgrad": 8.0}


def _depthwise(conv: Conv, which: Pass) -> KernelWork:
    flops = 2.0 * conv.bytes_y / element_bytes(conv.dtype) * conv.taps
    if not conv.channels_last and conv.dimensions == 2:
        flops *= _NATIVE_DEPTHWISE[which]
    moved = conv.bytes_x + conv.bytes_y + conv.bytes_w
    return KernelWork(_DEPTHWISE[which], flops, moved, 1, conv.dtype, "vector")


def _grouped(conv: Conv, which: Pass, *, sm_count: int) -> KernelWork:
    c, k = conv.channels_in // conv.groups, conv.channels_out // conv.groups
    moved = conv.bytes_x + conv.bytes_y + conv.bytes_w
    if which != "forward" and not _has_grouped_kernel(c, k, conv.groups):
        useful = 2.0 * conv.bytes_y / element_bytes(conv.dtype) * c * conv.taps
        return KernelWork("grouped_general", useful * sqrt(_WIDE_GROUP / min(c, k)), moved, conv.groups, conv.dtype)
    tile_c, tile_k = max(c, _GROUP_TILE), max(k, _GROUP_TILE)
    groups = max(1, conv.channels_in // tile_c)
    rows = conv.images * (conv.pixels_in if which == "dgrad" else conv.pixels_out)
    stride = conv.pixels_in / conv.pixels_out
    gemm = {
        "forward": Gemm(groups, rows, tile_k, tile_c * conv.taps),
        "dgrad": Gemm(groups, rows, tile_c, max(1, round(tile_k * conv.taps / stride))),
        "wgrad": Gemm(groups, tile_c * conv.taps, tile_k, rows),
    }[which]
    return KernelWork(_GROUPED[which], padded_gemm_flops(gemm, sm_count=sm_count), moved, 1, conv.dtype)


def _has_grouped_kernel(c: int, k: int, groups: int) -> bool:
    """Tell whether cuDNN 8 has a kernel for the gradients: as many channels out as in, 4 to 32 a group, many groups.

    Source:   observed, not documented: training times of 33 models of timm on an RTX 3090 (cuDNN 8.3): ResNeXt's
              32 groups of 4 to 32 channels are as fast as products, RegNet's and NFNet's groups 10 to 40 times slower.
    """
    return c == k and c in (4, 8, 16, 32) and groups >= _MANY_GROUPS


def _up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple
