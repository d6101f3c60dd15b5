from __future__ import annotations

from math import log2

import pytest

from estimate.machines import operation, tensor
from trainworthy.estimate.op_features import dtype_of, is_transposed_conv, layout_variant, place


def test_a_product_is_placed_by_its_sizes_and_layouts() -> None:
    weight = tensor(64, 16, stride=(1, 64))  # (64, 16), transposed
    found = place(operation("addmm", [tensor(16), tensor(8, 64), weight], [tensor(8, 16)]))
    assert found.family == "mm/fp32"
    assert found.features == (3.0, 4.0, 6.0, 0.0, 1.0, 1.0)


def test_a_convolution_is_placed_by_channels_a_group() -> None:
    x, w, y = tensor(4, 32, 16, 16), tensor(32, 1, 3, 3), tensor(4, 32, 16, 16)
    found = place(operation("convolution", [x, w], [y]))
    assert found.family == "conv/fp32"
    batch, pixels, shrinks, c_in, c_out, groups, kernel, last, _ = found.features
    assert (batch, pixels, shrinks, c_in, c_out, groups, last) == (2.0, 8.0, 0.0, 0.0, 0.0, 5.0, 0.0)
    assert kernel == pytest.approx(log2(9))


def test_the_gradients_of_a_convolution_are_told_apart() -> None:
    x, w, y = tensor(4, 8, 16, 16), tensor(32, 8, 3, 3), tensor(4, 32, 16, 16)
    families = [place(operation("convolution_backward", [y, x, w], outputs)).family for outputs in ([x, w], [x], [w])]
    assert families == ["conv_backward/fp32", "conv_backward_input/fp32", "conv_backward_weight/fp32"]


def test_a_transposed_convolution_is_told_by_its_weight() -> None:
    assert is_transposed_conv(tensor(2, 8, 4, 4), tensor(8, 16, 2, 2), tensor(2, 16, 8, 8))
    assert not is_transposed_conv(tensor(2, 8, 4, 4), tensor(16, 8, 3, 3), tensor(2, 16, 4, 4))
    assert is_transposed_conv(tensor(2, 8, 4, 4), tensor(8, 8, 2, 2), tensor(2, 8, 8, 8))


def test_layouts() -> None:
    x = tensor(4, 8)
    assert layout_variant((x, x)) == "plain"
    assert layout_variant((x, tensor(8), x)) == "broadcast"
    assert layout_variant((x, tensor(4, 8, stride=(1, 4)))) == "strided"
    channels_last = tensor(2, 3, 4, 4, stride=(48, 1, 12, 3))
    assert layout_variant((channels_last, channels_last)) == "plain"


def test_like_operators_share_a_family() -> None:
    x = tensor(64)
    assert place(operation("sub.Tensor", [x, x], [x])).family == place(operation("add.Tensor", [x, x], [x])).family
    assert place(operation("add_.Tensor", [x, x], [x])).family == "add:plain/fp32"
    assert place(operation("unheard_of", [x], [x])).fallbacks[-1] == "add:plain/fp32"


def test_reductions_by_what_is_kept() -> None:
    x = tensor(8, 16)
    assert place(operation("sum.dim_IntList", [x], [tensor(1, 16)])).family == "sum:outer/fp32"
    assert place(operation("sum.dim_IntList", [x], [tensor(8, 1)])).family == "sum:inner/fp32"
    assert place(operation("sum", [x], [tensor()])).family == "sum:all/fp32"


def test_the_type_is_that_of_the_largest_floating_operand() -> None:
    assert dtype_of(operation("embedding", [tensor(5, 4, dtype="bfloat16"), tensor(900, dtype="int64")], [])) == "bf16"


@pytest.mark.parametrize("name", ["mm", "convolution", "sum", "cat", "nll_loss_forward", "_foreach_add_", "embedding"])
def test_empty_operations_are_placed_too(name: str) -> None:
    place(operation(name, [tensor(0, 3), tensor(3, 0)], [tensor(0, 0)]))
