"""Autocast: CUDA's cast lists operation by operation, regions, the cache, custom Functions."""
# ruff: noqa: E501 - tables, one case a line
# mypy: allow-untyped-calls, allow-untyped-decorators, no-warn-unreachable
# mypy: disable-error-code="attr-defined,union-attr,operator,index,no-any-return,arg-type,misc,call-overload,call-arg"

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from trainworthy.virtual import autocast as lists
from trainworthy.virtual.gpu import VirtualGpu

HALF = (torch.float16, torch.bfloat16)
HEADER = Path(torch.__file__).parent / "include/ATen/autocast_mode.h"


@pytest.fixture(autouse=True)
def _on_gpu(gpu: VirtualGpu) -> None:
    """Run every test of this file on the virtual GPU."""


def r(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, device="cuda")


def h(*shape: int) -> torch.Tensor:
    return r(*shape).to(torch.get_autocast_dtype("cuda"))


def index(high: int, *shape: int) -> torch.Tensor:
    return torch.randint(0, high, shape, device="cuda")


# Written from the lists of aten/src/ATen/autocast_mode.h, torch 2.13.
LOWER: dict[str, Callable[[], Any]] = {
    "conv1d": lambda: F.conv1d(r(2, 3, 9), r(4, 3, 3), r(4)),
    "conv1d_same": lambda: F.conv1d(r(2, 3, 9), r(4, 3, 3), padding="same"),
    "conv2d": lambda: F.conv2d(r(2, 3, 9, 9), r(4, 3, 3, 3)),
    "conv2d_same": lambda: F.conv2d(r(2, 3, 9, 9), r(4, 3, 3, 3), padding="same"),
    "conv3d": lambda: F.conv3d(r(2, 3, 5, 5, 5), r(4, 3, 3, 3, 3)),
    "conv_tbc": lambda: torch.conv_tbc(r(9, 2, 3), r(3, 3, 4), r(4)),
    "conv_transpose1d": lambda: F.conv_transpose1d(r(2, 3, 9), r(3, 4, 3)),
    "conv_transpose2d": lambda: F.conv_transpose2d(r(2, 3, 9, 9), r(3, 4, 3, 3)),
    "conv_transpose3d": lambda: F.conv_transpose3d(r(2, 3, 5, 5, 5), r(3, 4, 3, 3, 3)),
    "convolution": lambda: torch.convolution(
        r(2, 3, 9), r(4, 3, 3), None, [1], [0], [1], False, [0], 1),
    "prelu": lambda: F.prelu(r(2, 3), r(3)),
    "addmm": lambda: torch.addmm(r(2, 4), r(2, 3), r(3, 4)),
    "addmv": lambda: torch.addmv(r(2), r(2, 3), r(3)),
    "addr": lambda: torch.addr(r(2, 3), r(2), r(3)),
    "matmul": lambda: r(2, 3) @ r(3, 4),
    "matmul_4d": lambda: torch.matmul(r(2, 5, 3, 4), r(2, 5, 4, 3)),
    "einsum": lambda: torch.einsum("bij,bjk->bik", r(2, 3, 4), r(2, 4, 5)),
    "mm": lambda: torch.mm(r(2, 3), r(3, 4)),
    "mv": lambda: torch.mv(r(2, 3), r(3)),
    "linalg_vecdot": lambda: torch.linalg.vecdot(r(2, 3), r(2, 3)),
    "linear": lambda: F.linear(r(2, 3), r(4, 3), r(4)),
    "addbmm": lambda: torch.addbmm(r(3, 5), r(2, 3, 4), r(2, 4, 5)),
    "baddbmm": lambda: torch.baddbmm(r(2, 3, 5), r(2, 3, 4), r(2, 4, 5)),
    "bmm": lambda: torch.bmm(r(2, 3, 4), r(2, 4, 5)),
    "multi_dot": lambda: torch.linalg.multi_dot([r(2, 3), r(3, 4), r(4, 5)]),
    "lstm_cell": lambda: nn.LSTMCell(3, 4, device="cuda")(r(2, 3))[0],
    "gru_cell": lambda: nn.GRUCell(3, 4, device="cuda")(r(2, 3)),
    "rnn_tanh_cell": lambda: nn.RNNCell(3, 4, device="cuda")(r(2, 3)),
    "rnn_relu_cell": lambda: nn.RNNCell(3, 4, nonlinearity="relu", device="cuda")(r(2, 3)),
    "attention": lambda: F.scaled_dot_product_attention(r(2, 2, 8, 16), r(2, 2, 8, 16), r(2, 2, 8, 16)),
    "lstm": lambda: nn.LSTM(3, 4, device="cuda")(r(5, 2, 3))[0],
    "mha": lambda: nn.MultiheadAttention(8, 2, device="cuda")(r(5, 2, 8), r(5, 2, 8), r(5, 2, 8))[0],
}  # fmt: skip
FLOAT32: dict[str, Callable[[], Any]] = {
    **{name: (lambda name=name: getattr(torch, name)(h(2, 3))) for name in (
        "acos", "asin", "cosh", "erfinv", "exp", "expm1", "log", "log10", "log2", "log1p", "reciprocal",
        "rsqrt", "sinh", "tan", "sum", "prod")},
    "pow": lambda: h(2, 3) ** 2,
    "pow_tensor": lambda: torch.pow(h(2, 3), h(2, 3)),
    "pow_scalar": lambda: 2.0 ** h(2, 3),
    "softplus": lambda: F.softplus(h(2, 3)),
    "layer_norm": lambda: F.layer_norm(h(2, 3), (3,), r(3), r(3)),
    "rms_norm": lambda: F.rms_norm(h(2, 3), (3,), r(3)),
    "group_norm": lambda: F.group_norm(h(2, 4, 3), 2),
    "vector_norm": lambda: torch.linalg.vector_norm(h(3, 3)),
    "matrix_norm": lambda: torch.linalg.matrix_norm(h(3, 3)),
    "norm": lambda: torch.norm(h(3, 3)),
    "norm_dim": lambda: h(3, 3).norm(dim=1),
    "norm_p": lambda: h(3, 3).norm(p=1, dim=1, keepdim=True),
    "cosine_similarity": lambda: F.cosine_similarity(h(2, 3), h(2, 3)),
    "poisson_nll_loss": lambda: F.poisson_nll_loss(h(2, 3), h(2, 3)),
    "cosine_embedding_loss": lambda: F.cosine_embedding_loss(h(2, 3), h(2, 3), h(2)),
    "nll_loss": lambda: F.nll_loss(h(2, 3), index(3, 2)),
    "nll_loss2d": lambda: F.nll_loss(h(2, 3, 4, 4), index(3, 2, 4, 4)),
    "cross_entropy": lambda: F.cross_entropy(h(2, 3), index(3, 2)),
    "cross_entropy_smoothed": lambda: F.cross_entropy(h(2, 3), index(3, 2), label_smoothing=0.1),
    "cross_entropy_probabilities": lambda: F.cross_entropy(h(2, 3), h(2, 3)),
    "hinge_embedding_loss": lambda: F.hinge_embedding_loss(h(2, 3), h(2, 3)),
    "kl_div": lambda: F.kl_div(h(2, 3), h(2, 3), reduction="batchmean"),
    "l1_loss": lambda: F.l1_loss(h(2, 3), h(2, 3)),
    "smooth_l1_loss": lambda: F.smooth_l1_loss(h(2, 3), h(2, 3)),
    "huber_loss": lambda: F.huber_loss(h(2, 3), h(2, 3)),
    "mse_loss": lambda: F.mse_loss(h(2, 3), h(2, 3)),
    "mse_loss_mixed": lambda: F.mse_loss(h(2, 3), r(2, 3)),
    "margin_ranking_loss": lambda: F.margin_ranking_loss(h(2), h(2), h(2)),
    "multilabel_margin_loss": lambda: F.multilabel_margin_loss(h(2, 3), index(3, 2, 3)),
    "soft_margin_loss": lambda: F.soft_margin_loss(h(2, 3), h(2, 3)),
    "triplet_margin_loss": lambda: F.triplet_margin_loss(h(2, 3), h(2, 3), h(2, 3)),
    "multi_margin_loss": lambda: F.multi_margin_loss(h(2, 3), index(3, 2)),
    "bce_with_logits": lambda: F.binary_cross_entropy_with_logits(h(2, 3), h(2, 3)),
    "dist": lambda: torch.dist(h(2, 3), h(2, 3)),
    "pdist": lambda: F.pdist(h(4, 3)),
    "cdist": lambda: torch.cdist(h(4, 3), h(5, 3)),
    "renorm": lambda: torch.renorm(h(2, 3), 2, 0, 1.0),
    "logsumexp": lambda: torch.logsumexp(h(2, 3), 1),
    "upsample_nearest": lambda: F.interpolate(h(2, 3, 4, 4), scale_factor=2),
    "upsample_nearest1d": lambda: F.interpolate(h(2, 3, 4), scale_factor=2),
    "upsample_nearest3d": lambda: F.interpolate(h(2, 3, 4, 4, 4), scale_factor=2),
    "upsample_nearest_exact": lambda: F.interpolate(h(2, 3, 4, 4), scale_factor=2, mode="nearest-exact"),
    "upsample_linear": lambda: F.interpolate(h(2, 3, 4), scale_factor=2, mode="linear"),
    "upsample_bilinear": lambda: F.interpolate(h(2, 3, 4, 4), scale_factor=2, mode="bilinear"),
    "upsample_bilinear_aa": lambda: F.interpolate(h(2, 3, 4, 4), size=2, mode="bilinear", antialias=True),
    "upsample_trilinear": lambda: F.interpolate(h(2, 3, 4, 4, 4), scale_factor=2, mode="trilinear"),
    "upsample_bicubic": lambda: F.interpolate(h(2, 3, 4, 4), scale_factor=2, mode="bicubic"),
    "softmax": lambda: F.softmax(h(2, 3), -1),
    "log_softmax": lambda: F.log_softmax(h(2, 3), -1),
    "cumsum": lambda: torch.cumsum(h(2, 3), 1),
    "cumprod": lambda: torch.cumprod(h(2, 3), 1),
    "sum_dim": lambda: h(2, 3).sum(1),
    "prod_dim": lambda: h(2, 3).prod(1),
}  # fmt: skip
WIDEST: dict[str, Callable[[Callable[..., torch.Tensor]], torch.Tensor]] = {
    "addcdiv": lambda x: torch.addcdiv(h(3), x(3), h(3)),
    "addcmul": lambda x: torch.addcmul(h(3), x(3), h(3)),
    "atan2": lambda x: torch.atan2(h(3), x(3)),
    "bilinear": lambda x: F.bilinear(h(2, 3), x(2, 4), h(5, 3, 4)),
    "cross": lambda x: torch.cross(h(2, 3), x(2, 3), dim=1),
    "dot": lambda x: torch.dot(h(3), x(3)),
    "vdot": lambda x: torch.vdot(h(3), x(3)),
    "grid_sample": lambda x: F.grid_sample(h(1, 2, 4, 4), x(1, 3, 3, 2), align_corners=False),
    "index_put": lambda x: torch.index_put(h(3), (index(3, 2),), x(2)),
    "tensordot": lambda x: torch.tensordot(h(2, 3), x(3, 4), dims=1),
    "scatter_add": lambda x: torch.scatter_add(h(3), 0, index(3, 3), x(3)),
}  # fmt: skip
UNTOUCHED: dict[str, Callable[[], Any]] = {
    "relu": lambda: F.relu(h(3)), "gelu": lambda: F.gelu(h(3)), "sigmoid": lambda: h(3).sigmoid(),
    "tanh": lambda: h(3).tanh(), "mean": lambda: h(3).mean(), "add": lambda: h(3) + h(3), "silu": lambda: F.silu(h(3)),
    "max_pool": lambda: F.max_pool2d(h(1, 2, 4, 4), 2), "dropout": lambda: F.dropout(h(8)), "cat": lambda: torch.cat([h(2), h(2)]),
    "batch_norm": lambda: F.batch_norm(h(2, 3, 4), r(3), r(3), r(3), r(3), True), "sqrt": lambda: h(3).sqrt(),
    "avg_pool": lambda: F.adaptive_avg_pool2d(h(1, 2, 4, 4), 1), "embedding": lambda: F.embedding(index(3, 2), h(3, 4)),
}  # fmt: skip


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("name", sorted(LOWER))
def test_lower_precision(name: str, dtype: torch.dtype) -> None:
    with torch.autocast("cuda", dtype=dtype):
        assert LOWER[name]().dtype is dtype
    assert LOWER[name]().dtype is torch.float32


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("name", sorted(FLOAT32))
def test_float32(name: str, dtype: torch.dtype) -> None:
    with torch.autocast("cuda", dtype=dtype):
        assert FLOAT32[name]().dtype is torch.float32


@pytest.mark.parametrize("name", sorted(WIDEST))
def test_widest(name: str) -> None:
    with torch.autocast("cuda", dtype=torch.bfloat16):
        assert WIDEST[name](r).dtype is torch.float32
        assert WIDEST[name](h).dtype is torch.bfloat16


@pytest.mark.parametrize("name", sorted(UNTOUCHED))
def test_untouched(name: str) -> None:
    with torch.autocast("cuda", dtype=torch.bfloat16):
        assert UNTOUCHED[name]().dtype is torch.bfloat16


def _listed(macro: str) -> set[str]:
    text = HEADER.read_text()
    body = text.split(f"#define {macro}(_)", 1)[1].split("\n\n", 1)[0]
    found = re.findall(r"_\((\w+)(?:, (\w+))?\)", body)
    return {f"{name}.{overload}" if overload else name for name, overload in found}


def test_lists_are_those_of_the_installed_torch() -> None:
    ours = lists._cuda_policies()
    attention = {"_scaled_dot_product_flash_attention", "scaled_dot_product_attention"}  # attention.py
    for macro, policy in (("AT_FORALL_LOWER_PRECISION_FP", lists._lower), ("AT_FORALL_FP32", lists._float32),
                          ("AT_FORALL_FP32_SET_OPT_DTYPE", lists._set_dtype), ("AT_FORALL_PROMOTE", lists._widest)):  # fmt: skip
        names = _listed(macro) - attention - {"_convolution.deprecated"}
        assert {n: ours.get(n) for n in names} == dict.fromkeys(names, policy)


def test_nothing_registered_for_cuda_is_missing() -> None:
    registered = torch._C._dispatch_get_registrations_for_dispatch_key("AutocastCUDA")
    names = {name.removeprefix("aten::") for name in registered if name.startswith("aten::")}
    missing = names - set(lists._cuda_policies()) - {
        "scaled_dot_product_attention", "_scaled_dot_product_flash_attention", "_convolution.deprecated",
        "cudnn_convolution", "cudnn_convolution_transpose"}  # fmt: skip
    assert missing == set()


def test_double_and_integers_are_left_alone() -> None:
    with torch.autocast("cuda", dtype=torch.float16):
        assert (r(2, 3).double() @ r(3, 4).double()).dtype is torch.float64
        assert h(3).double().exp().dtype is torch.float64
        assert index(3, 4).sum().dtype is torch.int64
        assert F.softmax(h(2, 3), -1, dtype=torch.float64).dtype is torch.float64


def test_defaults_and_queries() -> None:
    assert not torch.is_autocast_enabled("cuda")
    with torch.autocast("cuda"):
        assert torch.is_autocast_enabled("cuda")
        assert torch.is_autocast_enabled()
        assert torch.get_autocast_dtype("cuda") is torch.float16
        assert (r(2, 3) @ r(3, 4)).dtype is torch.float16
    with torch.autocast(device_type="cuda", dtype=torch.bfloat16, enabled=False):
        assert (r(2, 3) @ r(3, 4)).dtype is torch.float32
    with torch.amp.autocast("cuda", torch.bfloat16):
        assert torch.get_autocast_dtype("cuda") is torch.bfloat16
    assert torch.amp.is_autocast_available("cuda")
    with pytest.warns(FutureWarning, match="deprecated"), torch.cuda.amp.autocast(dtype=torch.float16):
        assert (r(2, 3) @ r(3, 4)).dtype is torch.float16


def test_bf16_on_a_card_without_it() -> None:
    from trainworthy.hardware import gpu_row

    with VirtualGpu(gpu_row("v100-sxm2-16gb")), torch.autocast("cuda", dtype=torch.bfloat16):
        assert (r(2, 3) @ r(3, 4)).dtype is torch.bfloat16  # emulated


def test_nested_and_disabled_regions() -> None:
    a, b = r(2, 3), r(3, 4)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        c = a @ b
        with torch.autocast("cuda", enabled=False):
            assert (a @ b).dtype is torch.float32
            assert (c.float() @ r(4, 2)).dtype is torch.float32
            with torch.autocast("cuda", dtype=torch.float16):
                assert (a @ b).dtype is torch.float16
        assert (a @ b).dtype is torch.bfloat16
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert (a @ b).dtype is torch.bfloat16


def test_mixed_dtypes_outside_raise() -> None:
    with torch.autocast("cuda", dtype=torch.bfloat16):
        c = r(2, 3) @ r(3, 4)
    with pytest.raises(RuntimeError, match="mat1 and mat2 to have the same dtype, but got: c10::BFloat16 != float"):
        c @ r(4, 2)


def test_decorator_and_backward_outside() -> None:
    layer = nn.Linear(3, 4).cuda()

    @torch.autocast("cuda", dtype=torch.bfloat16)
    def run(x: torch.Tensor) -> torch.Tensor:
        return layer(x)

    out = run(r(2, 3))
    assert out.dtype is torch.bfloat16
    out.float().sum().backward()
    assert layer.weight.grad.dtype is torch.float32


def test_weights_are_cast_once_a_region(gpu: VirtualGpu) -> None:
    layer = nn.Linear(8, 8, bias=False).cuda()

    def casts() -> int:
        start = len(list(gpu.tape().ops))
        with torch.autocast("cuda", dtype=torch.bfloat16):
            layer(layer(layer(r(2, 8))))
        ops = list(gpu.tape().ops)[start:]
        return sum(o.name == "_to_copy" and o.inputs[0].shape == (8, 8) for o in ops)

    assert casts() == 1
    assert casts() == 1
    start = len(list(gpu.tape().ops))
    with torch.autocast("cuda", dtype=torch.bfloat16, cache_enabled=False):
        layer(layer(r(2, 8)))
    ops = list(gpu.tape().ops)[start:]
    assert sum(o.name == "_to_copy" and o.inputs[0].shape == (8, 8) for o in ops) == 2


def test_bce_is_refused() -> None:
    with torch.autocast("cuda"), pytest.raises(RuntimeError, match="are unsafe to autocast"):
        F.binary_cross_entropy(h(3), r(3))
    assert F.binary_cross_entropy(r(3), r(3)).dtype is torch.float32


def test_inside_checkpoint(gpu: VirtualGpu) -> None:
    layer = nn.Linear(4, 4).cuda()
    seen: list[torch.dtype] = []

    def block(x: torch.Tensor) -> torch.Tensor:
        out = layer(x)
        seen.append(out.dtype)
        return out.relu()

    for reentrant in (True, False):
        seen.clear()
        with torch.autocast("cuda", dtype=torch.bfloat16):
            x = r(2, 4).requires_grad_()
            loss = checkpoint(block, x, use_reentrant=reentrant).float().mean()
        loss.backward()
        assert seen == [torch.bfloat16, torch.bfloat16]
    assert any(op.phase == "recompute" for op in gpu.tape().ops)


def test_custom_fwd_and_bwd() -> None:
    class Product(torch.autograd.Function):
        @staticmethod
        @torch.amp.custom_fwd(device_type="cuda", cast_inputs=torch.float32)
        def forward(ctx: Any, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
            assert not torch.is_autocast_enabled("cuda")
            assert x.dtype is torch.float32
            ctx.save_for_backward(x, w)
            return x @ w

        @staticmethod
        @torch.amp.custom_bwd(device_type="cuda")
        def backward(ctx: Any, grad: torch.Tensor) -> Any:
            x, w = ctx.saved_tensors
            return grad @ w.t(), x.t() @ grad

    class Plain(torch.autograd.Function):
        @staticmethod
        @torch.amp.custom_fwd(device_type="cuda")
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            assert torch.is_autocast_enabled("cuda")
            return x @ x

        @staticmethod
        @torch.amp.custom_bwd(device_type="cuda")
        def backward(ctx: Any, grad: torch.Tensor) -> Any:
            assert torch.is_autocast_enabled("cuda")
            return grad @ grad

    x, w = h(2, 3), r(3, 3).requires_grad_()
    with torch.autocast("cuda", dtype=torch.float16):
        out = Product.apply(x, w)
        assert out.dtype is torch.float32
        square = Plain.apply(w)
        assert square.dtype is torch.float16
    (out.sum() + square.float().sum()).backward()
    assert w.grad.dtype is torch.float32
