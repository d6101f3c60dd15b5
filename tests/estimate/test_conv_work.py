"""What convolutions do: the three implicit products, groups, channels that are padded, layouts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trainworthy.estimate.conv_work import conv_work
from trainworthy.estimate.op_classes import LAID_OUT
from trainworthy.tape.record import Signature, TensorMeta


def image(n: int, c: int, side: int, *, last: bool = True, dtype: str = "float16") -> TensorMeta:
    stride = (c * side * side, 1, side * c, c) if last else (c * side * side, side * side, side, 1)
    return TensorMeta((n, c, side, side), stride, dtype, "cuda:0")


def forward(n: int, c: int, k: int, side: int, taps: int, *, groups: int = 1, last: bool = True) -> Signature:
    w = TensorMeta((k, c // groups, taps, taps), (1, 1, 1, 1), "float16", "cuda:0")
    return Signature("convolution", (image(n, c, side, last=last), w), (image(n, k, side, last=last),), 0, 0, 0, 0)


def backward(n: int, c: int, k: int, side: int, taps: int, *, groups: int = 1) -> Signature:
    w = TensorMeta((k, c // groups, taps, taps), (1, 1, 1, 1), "float16", "cuda:0")
    x = image(n, c, side)
    return Signature("convolution_backward", (image(n, k, side), x, w), (x, w), 0, 0, 0, 0)


def test_forward_moves_input_weight_and_output_once() -> None:
    (work,) = conv_work(forward(32, 64, 128, 56, 3), sm_count=82)
    assert work.kind == "conv_forward"
    assert work.bytes == 2 * (32 * 64 * 56 * 56 + 32 * 128 * 56 * 56 + 128 * 64 * 9)
    assert work.turned_bytes == 0


def test_channels_first_is_turned_for_matrix_units_and_turned_back() -> None:
    (work,) = conv_work(forward(32, 64, 128, 56, 3, last=False), sm_count=82)
    assert work.turned_bytes == 2 * 2 * (32 * 64 + 32 * 128) * 56 * 56


def test_compiled_code_has_channels_last() -> None:
    signature = forward(32, 64, 128, 56, 3, last=False)
    (work,) = conv_work(signature._replace(name="convolution" + LAID_OUT), sm_count=82)
    assert work.turned_bytes == 0


def test_a_bias_and_its_gradient_have_kernels_of_their_own_in_eager_mode() -> None:
    bias = TensorMeta((128,), (1,), "float16", "cuda:0")
    plain, out = forward(32, 64, 128, 56, 3), 2 * 32 * 128 * 56 * 56
    biased = plain._replace(inputs=(*plain.inputs, bias))
    assert [(w.kind, w.bytes) for w in conv_work(biased, sm_count=82)[1:]] == [("elementwise", 2 * out)]
    assert len(conv_work(biased._replace(name="convolution" + LAID_OUT), sm_count=82)) == 1
    gradients = backward(32, 64, 128, 56, 3)
    summed = gradients._replace(outputs=(*gradients.outputs, bias))
    assert [(w.kind, w.bytes) for w in conv_work(summed, sm_count=82)[2:]] == [("reduction", out)]


def test_depthwise_on_plain_images_runs_the_slower_kernel_of_pytorch_itself() -> None:
    (last,), (plain,) = (
        conv_work(forward(8, 64, 64, 28, 3, groups=64, last=is_last), sm_count=82) for is_last in (True, False)
    )
    assert (last.kind, plain.kind) == ("depthwise_forward", "depthwise_forward")
    assert plain.flops == 11 * last.flops


def test_the_backward_pass_is_two_products() -> None:
    assert [w.kind for w in conv_work(backward(32, 64, 128, 56, 3), sm_count=82)] == ["conv_dgrad", "conv_wgrad"]


def test_a_stem_pays_for_eight_channels() -> None:
    (stem,) = conv_work(forward(64, 3, 64, 224, 7), sm_count=82)
    (eight,) = conv_work(forward(64, 8, 64, 224, 7), sm_count=82)
    assert stem.kind == "conv_stem"
    assert stem.flops == eight.flops


def test_depthwise_is_no_product() -> None:
    (work,) = conv_work(forward(32, 96, 96, 56, 7, groups=96), sm_count=82)
    assert (work.kind, work.unit) == ("depthwise_forward", "vector")
    assert work.flops == 2 * 32 * 96 * 56 * 56 * 49


def test_resnexts_groups_have_kernels_and_regnets_gradients_do_not() -> None:
    resnext = conv_work(backward(32, 128, 128, 56, 3, groups=32), sm_count=82)
    regnet = conv_work(backward(32, 224, 224, 28, 3, groups=2), sm_count=82)
    assert {w.kind for w in resnext} == {"grouped_dgrad", "grouped_wgrad"}
    assert {w.kind for w in regnet} == {"grouped_general"}
    assert conv_work(forward(32, 224, 224, 28, 3, groups=2), sm_count=82)[0].kind == "grouped_forward"


def test_winograd_saves_in_planes_without_stride_only() -> None:
    assert conv_work(forward(8, 64, 64, 56, 3), sm_count=82)[0].saving == 2.0
    assert conv_work(forward(8, 64, 64, 56, 1), sm_count=82)[0].saving == 1.0


def test_a_transposed_convolution_moves_what_its_mirror_moves() -> None:
    x, y = image(8, 64, 28), image(8, 32, 56)
    w = TensorMeta((64, 32, 2, 2), (1, 1, 1, 1), "float16", "cuda:0")
    (up,) = conv_work(Signature("convolution", (x, w), (y,), 0, 0, 0, 0), sm_count=82)
    assert up.bytes == 2 * (8 * 64 * 28 * 28 + 8 * 32 * 56 * 56 + 64 * 32 * 4)


@given(st.integers(1, 64), st.integers(2, 256), st.integers(2, 256), st.sampled_from([7, 28]), st.sampled_from([1, 3]))
def test_padding_never_saves(n: int, c: int, k: int, side: int, taps: int) -> None:
    (work,) = conv_work(forward(n, c, k, side, taps), sm_count=108)
    assert work.flops >= 0.999 * 2 * n * c * k * side * side * taps * taps
