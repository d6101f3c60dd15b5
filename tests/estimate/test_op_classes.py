from __future__ import annotations

import pytest
import torch

from trainworthy.estimate.op_classes import OP_CLASSES, base_name, op_class


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("addmm", "gemm"), ("bmm", "gemm"), ("convolution", "conv_forward"), ("convolution_backward", "conv_backward"),
        ("_scaled_dot_product_flash_attention", "attention_forward"),
        ("_scaled_dot_product_flash_attention_for_cpu.causal", "attention_forward"),
        ("_scaled_dot_product_efficient_attention_backward", "attention_backward"),
        ("mkldnn_rnn_layer", "rnn_forward"), ("native_layer_norm_backward", "norm"), ("_log_softmax", "softmax"),
        ("sum.dim_IntList", "reduction"), ("gelu", "transcendental"), ("add_.Tensor", "elementwise"),
        ("_to_copy", "copy"), ("embedding_dense_backward", "scatter"), ("bernoulli_.float", "random"),
        ("_fused_adamw_", "optimizer_fused"), ("_foreach_add_.List", "optimizer_foreach"), ("view", "view"),
        ("_local_scalar_dense", "sync"), ("_c10d_functional.all_reduce", "collective"), ("my_op", "other"),
    ],
)  # fmt: skip
def test_an_operator_has_the_class_of_what_bounds_it(name: str, expected: str) -> None:
    assert op_class(name) == expected
    assert expected in OP_CLASSES


def test_namespaces_and_overloads_do_not_matter() -> None:
    assert base_name("aten.add.Tensor") == "add"
    assert op_class("fsdp.all_gather_copy_in") == "copy"


def test_what_torch_calls_a_view_is_free() -> None:
    for name in ("view", "transpose", "expand", "slice", "select", "permute", "unsqueeze", "detach", "split"):
        assert op_class(name) == "view"
        packet = getattr(torch.ops.aten, name)
        assert any(getattr(packet, overload).is_view for overload in packet.overloads())


def test_what_torch_calls_pointwise_is_bound_by_memory() -> None:
    """Every common pointwise operator has one of the classes that the estimate treats as streaming."""
    streaming = {"elementwise", "transcendental", "fill", "random", "copy"}
    names = (
        "add",
        "sub",
        "mul",
        "div",
        "relu",
        "exp",
        "tanh",
        "sigmoid",
        "gelu",
        "silu",
        "sqrt",
        "where",
        "clamp",
        "eq",
    )
    for name in names:
        packet = getattr(torch.ops.aten, name)
        assert torch.Tag.pointwise in getattr(packet, packet.overloads()[0]).tags
        assert op_class(name) in streaming, name
