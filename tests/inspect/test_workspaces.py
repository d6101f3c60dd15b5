"""What libraries take from the allocator: by hand, and against what an H200 answered."""

from __future__ import annotations

import pytest

from trainworthy.inspect.replay import replay
from trainworthy.inspect.workspaces import IN_CALL, allocator_requests, conv_workspaces_bytes, rnn_workspaces_bytes
from trainworthy.tape.record import Signature, TensorMeta


def image(*shape: int, dtype: str = "bfloat16", last: bool = False) -> TensorMeta:
    _, c, h, w = shape
    stride = (c * h * w, 1, w * c, c) if last else (c * h * w, h * w, w, 1)
    return TensorMeta(shape, stride, dtype, "cuda:0")


def conv(x: TensorMeta, w: TensorMeta, y: TensorMeta, *, backward: bool = False) -> Signature:
    if backward:
        return Signature("convolution_backward", (y, x, w), (x, w), 0, 0, 0, 0)
    return Signature("convolution", (x, w), (y,), 0, 0, 0, 0)


# Shapes, and what cuDNN took on an H200 over what input and result have (benchmarks/gpu_library_memory.py).
@pytest.mark.parametrize(
    ("x", "w", "y", "dtype", "seen"),
    [
        ((64, 256, 28, 28), (128, 256, 3, 3), (64, 128, 28, 28), "bfloat16", 1.02),
        ((16, 256, 56, 56), (256, 256, 5, 5), (16, 256, 56, 56), "float32", 1.06),
        ((8, 64, 112, 112), (16, 64, 7, 7), (8, 16, 112, 112), "bfloat16", 1.01),
        ((16, 64, 56, 56), (16, 64, 1, 1), (16, 16, 28, 28), "bfloat16", 1.0),
        ((64, 16, 28, 28), (256, 16, 1, 1), (64, 256, 28, 28), "bfloat16", 0.0),
        ((64, 3, 56, 56), (32, 3, 5, 5), (64, 32, 56, 56), "float32", 0.0),
    ],
)
def test_images_are_turned_into_copies(
    x: tuple[int, ...], w: tuple[int, ...], y: tuple[int, ...], dtype: str, seen: float
) -> None:
    signature = conv(image(*x, dtype=dtype), image(*w, dtype=dtype), image(*y, dtype=dtype))
    width = 2 if dtype == "bfloat16" else 4
    beside = width * (_numel(x) + _numel(y))
    assert sum(conv_workspaces_bytes(signature)) / beside == pytest.approx(seen, abs=0.02)


def _numel(shape: tuple[int, ...]) -> int:
    a, b, c, d = shape
    return a * b * c * d


def test_channels_last_and_plain_float32_take_nothing() -> None:
    shapes = ((8, 64, 28, 28), (64, 64, 3, 3), (8, 64, 28, 28))
    last = [image(*shape, last=True) for shape in shapes]
    assert conv_workspaces_bytes(conv(*last)) == []
    plain = [image(*shape, dtype="float32") for shape in shapes]
    assert conv_workspaces_bytes(conv(*plain), conv_tf32=False) == []
    assert conv_workspaces_bytes(conv(*plain)) != []


def test_each_gradient_takes_its_own_one_after_the_other() -> None:
    tensors = [image(*shape) for shape in ((8, 64, 28, 28), (64, 64, 3, 3), (8, 64, 28, 28))]
    (forward,) = conv_workspaces_bytes(conv(*tensors))
    assert conv_workspaces_bytes(conv(*tensors, backward=True)) == [forward, forward]


def test_a_workspace_lives_for_the_call_and_counts_at_the_peak() -> None:
    import torch
    from torch import nn

    from trainworthy.hardware import gpu_row
    from trainworthy.virtual.gpu import VirtualGpu

    with VirtualGpu(gpu_row("h200-sxm-141gb")) as device:
        net = nn.Conv2d(64, 64, 3, padding=1, bias=False, device="cuda", dtype=torch.bfloat16)
        net(torch.zeros(16, 64, 56, 56, device="cuda", dtype=torch.bfloat16))
    tape = device.tape()
    asked = [r for r in allocator_requests(tape, "cuda:0", 0) if r.event.number == IN_CALL]
    image_bytes, weight_bytes = 16 * 64 * 56 * 56 * 2, 64 * 64 * 9 * 2
    assert [r.num_bytes for r in asked] == [2 * image_bytes + weight_bytes, None]
    played = replay(tape)
    assert played.workspace_at_peak_bytes == 2 * image_bytes + weight_bytes
    assert played.peak_allocated_bytes >= 4 * image_bytes


def _meta(*shape: int, dtype: str = "float32") -> TensorMeta:
    return TensorMeta(shape, (1,) * len(shape), dtype, "cuda:0")


def _recurrent(shape: tuple[int, ...]) -> Signature:
    steps, batch, inputs, hidden, layers, directions, gates = shape
    weights = [
        meta
        for layer in range(layers)
        for _ in range(directions)
        for meta in (
            _meta(gates * hidden, inputs if layer == 0 else directions * hidden), _meta(gates * hidden, hidden),
            _meta(gates * hidden), _meta(gates * hidden),
        )
    ]  # fmt: skip
    x, state = _meta(steps, batch, inputs), _meta(layers * directions, batch, hidden)
    return Signature("_cudnn_rnn", (x, *weights, state), (_meta(steps, batch, directions * hidden), state), 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("shape", "seen_bytes"),  # what an H100 answered to benchmarks/gpu_library_memory.py, cuDNN 9
    [
        ((64, 48, 128, 256, 1, 1, 4), 27_755_520),
        ((64, 48, 128, 256, 1, 2, 4), 67_108_864),
        ((64, 48, 128, 256, 2, 2, 4), 90_964_992),
        ((128, 64, 512, 1024, 2, 1, 4), 265_290_752),
        ((128, 64, 512, 1024, 1, 1, 3), 196_346_880),
        ((128, 64, 512, 1024, 2, 1, 3), 214_434_816),
        ((10, 4, 32, 32, 2, 2, 3), 33_835_520),
    ],
)
def test_recurrent_layers_take_what_a_gpu_said(shape: tuple[int, ...], seen_bytes: int) -> None:
    (found,) = rnn_workspaces_bytes(_recurrent(shape))
    assert found == pytest.approx(seen_bytes, rel=0.03)


def test_no_other_operation_is_a_recurrent_layer() -> None:
    x = _meta(4, 5, 6)
    assert rnn_workspaces_bytes(Signature("addmm", (x, x, x), (x,), 0, 0, 0, 0)) == []
    assert rnn_workspaces_bytes(Signature("_cudnn_rnn", (x,), (x,), 0, 0, 0, 0)) == []
