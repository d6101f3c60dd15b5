"""What libraries take from the allocator: by hand, and against what an H200 answered."""

from __future__ import annotations

import pytest

from trainworthy.inspect.replay import replay
from trainworthy.inspect.workspaces import IN_CALL, allocator_requests, conv_workspaces_bytes
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
