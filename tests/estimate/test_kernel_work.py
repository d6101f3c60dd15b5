"""What kernels do: padding, passes over memory, kinds; by hand and by laws."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainworthy.estimate.kernel_work import (
    Gemm,
    KernelWork,
    gemm_work,
    image_flops,
    kernel_work,
    padded_gemm_flops,
    rnn_work,
    tensor_bytes,
)
from trainworthy.estimate.op_classes import LAID_OUT
from trainworthy.tape.record import Signature, TensorMeta


def meta(*shape: int, dtype: str = "float16", stride: tuple[int, ...] | None = None) -> TensorMeta:
    strides: list[int] = []
    step = 1
    for n in reversed(shape):
        strides.insert(0, step)
        step *= n
    return TensorMeta(shape, stride or tuple(strides), dtype, "cuda:0")


def operation(name: str, inputs: list[TensorMeta], outputs: list[TensorMeta], flops: int = 0) -> Signature:
    return Signature(name, tuple(inputs), tuple(outputs), flops, 0, 0, 0)


def only(works: tuple[KernelWork, ...]) -> KernelWork:
    (work,) = works
    return work


def test_a_product_of_whole_tiles_and_waves_costs_its_flops() -> None:
    # 16 x 32 tiles of 256 x 128 = 512 = 4 waves of 128
    assert padded_gemm_flops(Gemm(1, 4096, 4096, 4096), sm_count=128) == 2 * 4096**3


def test_a_wave_that_is_not_full_costs_more_than_its_flops() -> None:
    # NVIDIA's guide: 2304 x 1792 in tiles of 256 x 128 are 126 tiles on 108 SMs, a second wave of 18
    assert padded_gemm_flops(Gemm(1, 2304, 1792, 4096), sm_count=108) > 1.05 * 2 * 2304 * 1792 * 4096


def test_few_tiles_and_a_long_sum_are_split() -> None:
    # the weight gradient of a stem: one tile of 64 x 64 alone would use 1 of 82 SMs
    assert padded_gemm_flops(Gemm(1, 64, 64, 262_144), sm_count=82) < 2 * 64 * 64 * 262_144 * 82 / 8


@given(st.integers(1, 4096), st.integers(1, 4096), st.integers(1, 4096), st.integers(1, 64))
def test_padding_never_saves(m: int, n: int, k: int, batch: int) -> None:
    assert padded_gemm_flops(Gemm(batch, m, n, k), sm_count=108) >= 2.0 * batch * m * n * k


def test_an_empty_product_costs_nothing() -> None:
    assert padded_gemm_flops(Gemm(1, 0, 5, 5), sm_count=108) == 0.0


def test_rows_that_are_no_multiple_of_16_bytes_are_misaligned() -> None:
    odd = operation("bmm", [meta(12, 197, 64), meta(12, 64, 197)], [meta(12, 197, 197)])
    even = operation("bmm", [meta(12, 256, 64), meta(12, 64, 256)], [meta(12, 256, 256)])
    assert gemm_work(odd, sm_count=82).kind == "gemm_misaligned"
    assert gemm_work(even, sm_count=82).kind == "gemm_batched"
    assert gemm_work(odd._replace(name="bmm" + LAID_OUT), sm_count=82).kind == "gemm_batched"  # compiled code pads


def test_an_expanded_tensor_is_read_once() -> None:
    assert tensor_bytes(meta(8, 1000, dtype="float32", stride=(0, 1))) == 4000


def test_batch_norm_makes_three_passes_in_training_and_two_in_evaluation() -> None:
    x, c = meta(8, 256, 28, 28), meta(256, dtype="float32")
    op = operation("native_batch_norm", [x, c, c, c, c], [x, c, c])
    train, evaluation = (only(kernel_work(op, sm_count=82, training=t)) for t in (True, False))
    large = 8 * 256 * 28 * 28 * 2
    assert train.bytes == 3 * large + 6 * 1024
    assert evaluation.bytes == 2 * large + 6 * 1024
    assert (train.kind, evaluation.kind) == ("batch_norm_forward", "elementwise")


def test_the_backward_pass_of_batch_norm_makes_five_passes() -> None:
    x, c = meta(8, 256, 28, 28), meta(256, dtype="float32")
    op = operation("native_batch_norm_backward", [x, x, c, c, c, c, c], [x, c, c])
    assert only(kernel_work(op, sm_count=82)).bytes == 5 * 8 * 256 * 28 * 28 * 2 + 7 * 1024


def test_a_norm_of_few_channels_leaves_multiprocessors_idle_unless_they_lie_side_by_side() -> None:
    c = meta(66, dtype="float32")  # a quarter of the 264 blocks that 132 multiprocessors run
    plain, last = meta(8, 66, 56, 56), meta(8, 66, 56, 56, stride=(66 * 56 * 56, 1, 56 * 66, 66))
    operations = [operation("native_batch_norm_backward", [x, x, c, c, c, c, c], [x, c, c]) for x in (plain, last)]
    idle, busy = (only(kernel_work(op, sm_count=132)) for op in operations)
    assert idle.bytes == 4 * busy.bytes
    joined = operations[0]._replace(name="native_batch_norm_backward" + LAID_OUT)
    assert only(kernel_work(joined, sm_count=132)).bytes == busy.bytes


def test_bfloat16_norms_run_the_slower_kernel_of_pytorch_itself() -> None:
    c = meta(512, dtype="float32")
    for backward in (False, True):
        half, brain = (
            only(kernel_work(_norm_op(meta(64, 512, 28, 28, dtype=dtype), c, backward=backward), sm_count=132))
            for dtype in ("float16", "bfloat16")
        )
        assert brain.bytes == half.bytes
        assert brain.flops > 10 * half.flops


def _norm_op(x: TensorMeta, c: TensorMeta, *, backward: bool) -> Signature:
    if backward:
        return operation("native_batch_norm_backward", [x, x, c, c, c, c, c], [x, c, c])
    return operation("native_batch_norm", [x, c, c, c, c], [x, c, c])


def test_pooling_costs_by_the_element_of_the_large_image() -> None:
    x, y, i = meta(8, 64, 112, 112), meta(8, 64, 56, 56), meta(8, 64, 56, 56, dtype="int64")
    forward = only(kernel_work(operation("max_pool2d_with_indices", [x], [y, i]), sm_count=132))
    backward = only(kernel_work(operation("max_pool2d_with_indices_backward", [y, x, i], [x]), sm_count=132))
    elements = 8 * 64 * 112 * 112
    assert forward.flops == image_flops(elements, 0.94) / 2  # kinds without a share of their own get half the rate
    assert backward.flops == image_flops(elements, 0.36) / 2
    assert image_flops(36.0, 0.36) == pytest.approx(100 * 256)  # a hundred cycles of an SM


def test_a_copy_that_turns_the_layout_is_a_transpose() -> None:
    first, last = meta(8, 64, 56, 56), meta(8, 64, 56, 56, stride=(64 * 56 * 56, 1, 56 * 64, 64))
    assert only(kernel_work(operation("clone", [first], [last]), sm_count=82)).kind == "transpose"
    assert only(kernel_work(operation("clone", [first], [first]), sm_count=82)).kind == "copy"


def test_views_have_no_kernel() -> None:
    assert kernel_work(operation("view", [meta(4, 4)], [meta(16)]), sm_count=82) == ()


def test_fused_attention_pads_the_head() -> None:
    q = meta(2, 16, 1024, 80)
    op = operation("_scaled_dot_product_flash_attention", [q, q, q], [q], flops=1000)
    work = only(kernel_work(op, sm_count=82))
    assert (work.kind, work.flops) == ("attention_forward", 1200.0)  # 80 -> 96


def test_a_recurrent_layer_reads_its_weights_at_every_step() -> None:
    x, w = meta(10, 4, 32), meta(128, 32)
    work = rnn_work(operation("_cudnn_rnn", [x, w, w], [x], flops=77), backward=False)
    assert work.flops == 77
    assert work.bytes == 2 * (2 * 1280 + 2 * 4096) + 10 * 2 * 8192


@pytest.mark.parametrize(
    ("name", "kind"), [("add.Tensor", "elementwise"), ("gelu", "transcendental"), ("sum", "reduction")]
)
def test_kinds_of_other_operators(name: str, kind: str) -> None:
    assert only(kernel_work(operation(name, [meta(64, 64)], [meta(64, 64)]), sm_count=82)).kind == kind
