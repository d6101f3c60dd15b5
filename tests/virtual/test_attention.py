"""Fused attention: the kernel CUDA would choose, alone and inside torch's own layers."""
# ruff: noqa: E501 - tables, one case a line
# mypy: allow-untyped-calls, allow-untyped-decorators, no-warn-unreachable
# mypy: disable-error-code="attr-defined,union-attr,operator,index,no-any-return,arg-type,misc,call-overload,call-arg"

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from trainworthy.hardware import gpu_row
from trainworthy.virtual.gpu import VirtualGpu

FLASH = "_scaled_dot_product_flash_attention"
EFFICIENT = "_scaled_dot_product_efficient_attention"
CUDNN = "_scaled_dot_product_cudnn_attention"
FUSED = {FLASH, EFFICIENT, CUDNN}


def kernel(gpu: VirtualGpu, dtype: torch.dtype, *, shape: tuple[int, ...] = (2, 4, 32, 64), key: int | None = None,
           **options: Any) -> str:  # fmt: skip
    """Return the operation that computed attention."""
    q = torch.randn(shape, device="cuda", dtype=dtype, requires_grad=True)
    k = torch.randn((*shape[:-2], key or shape[-2], shape[-1]), device="cuda", dtype=dtype, requires_grad=True)
    start = len(gpu.recorder.ops)
    out = F.scaled_dot_product_attention(q, k, k, **options)
    assert out.shape == q.shape
    assert out.dtype is dtype
    names = [op.name.removesuffix(".causal") for op in gpu.tape().ops][start:]
    out.sum().backward()
    assert q.grad is not None
    return next((n for n in names if n in FUSED), "math")


@pytest.mark.parametrize(("row", "dtype", "expected"), [
    ("h100-sxm-80gb", torch.bfloat16, CUDNN), ("b200-sxm-180gb", torch.float16, CUDNN),
    ("l40s-pcie-48gb", torch.bfloat16, FLASH), ("h100-sxm-80gb", torch.float32, EFFICIENT), ("a100-sxm-80gb", torch.bfloat16, FLASH),
    ("t4-pcie-16gb", torch.float16, EFFICIENT), ("t4-pcie-16gb", torch.bfloat16, "math"),
    ("v100-sxm2-16gb", torch.float16, EFFICIENT), ("v100-sxm2-16gb", torch.float32, EFFICIENT),
    ("h100-sxm-80gb", torch.float64, "math"),
])  # fmt: skip
def test_by_card_and_dtype(row: str, dtype: torch.dtype, expected: str) -> None:
    with VirtualGpu(gpu_row(row)) as gpu:
        assert kernel(gpu, dtype) == expected
        assert kernel(gpu, dtype, is_causal=True) == expected


def test_by_width_mask_and_dropout() -> None:
    half = torch.bfloat16
    with VirtualGpu(gpu_row("a100-sxm-80gb")) as gpu:
        mask = torch.ones(32, 32, dtype=torch.bool, device="cuda").tril()
        bias = torch.zeros(32, 32, dtype=half, device="cuda")
        assert kernel(gpu, half, shape=(2, 4, 32, 256)) == FLASH
        assert kernel(gpu, half, shape=(2, 4, 32, 264)) == EFFICIENT
        assert kernel(gpu, half, shape=(2, 4, 32, 20)) == FLASH  # padded to 24 and sliced
        assert kernel(gpu, torch.float32, shape=(2, 4, 32, 6)) == "math"
        assert kernel(gpu, half, attn_mask=mask) == EFFICIENT
        assert kernel(gpu, half, attn_mask=bias) == EFFICIENT
        learned = bias.clone().requires_grad_()
        assert kernel(gpu, half, attn_mask=learned) == EFFICIENT
        assert learned.grad is not None
        assert kernel(gpu, half, dropout_p=0.1) == FLASH
        assert kernel(gpu, half, scale=0.1) == FLASH
        assert kernel(gpu, half, key=48) == FLASH
        assert kernel(gpu, half, key=48, is_causal=True) == EFFICIENT
        assert kernel(gpu, half, shape=(4, 32, 64)) == "math"
    with VirtualGpu(gpu_row("rtx-4090-24gb")) as gpu:
        assert kernel(gpu, half, shape=(2, 4, 32, 224)) == EFFICIENT
        assert kernel(gpu, half, shape=(2, 4, 32, 256)) == FLASH


def test_cudnn_conditions(gpu: VirtualGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    half = torch.bfloat16
    mask = torch.ones(32, 32, dtype=torch.bool, device="cuda").tril()
    bias = torch.zeros(32, 32, dtype=half, device="cuda", requires_grad=True)
    assert kernel(gpu, half, attn_mask=mask) == CUDNN
    assert kernel(gpu, half, attn_mask=bias) == EFFICIENT
    assert kernel(gpu, half, dropout_p=0.125) == CUDNN
    assert kernel(gpu, half, dropout_p=0.1) == FLASH  # cuDNN knows sixteenths only
    assert kernel(gpu, half, shape=(2, 4, 32, 20)) == FLASH
    assert kernel(gpu, half, shape=(2, 4, 32, 160)) == FLASH
    torch.use_deterministic_algorithms(True)
    assert kernel(gpu, half) == FLASH
    torch.use_deterministic_algorithms(False)
    monkeypatch.setenv("TORCH_CUDNN_SDPA_DEPRIORITIZED", "1")
    assert kernel(gpu, half) == FLASH


def test_grouped_queries() -> None:
    for row, expected in (("a100-sxm-80gb", FLASH), ("h100-sxm-80gb", CUDNN)):
        with VirtualGpu(gpu_row(row)) as gpu:
            q = torch.randn(2, 8, 16, 64, device="cuda", dtype=torch.bfloat16)
            k = torch.randn(2, 2, 16, 64, device="cuda", dtype=torch.bfloat16)
            start = len(gpu.recorder.ops)
            assert F.scaled_dot_product_attention(q, k, k, enable_gqa=True).shape == q.shape
            names = [op.name.removesuffix(".causal") for op in gpu.tape().ops][start:]
            assert expected in names
            assert "repeat_interleave" not in names
            with pytest.raises(RuntimeError, match=r"must match the size of tensor|same"):
                F.scaled_dot_product_attention(q, k, k)


def test_contexts(gpu: VirtualGpu) -> None:
    half = torch.bfloat16
    with sdpa_kernel(SDPBackend.MATH):
        assert kernel(gpu, half) == "math"
    with sdpa_kernel(SDPBackend.EFFICIENT_ATTENTION):
        assert kernel(gpu, half) == EFFICIENT
    with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]):
        assert kernel(gpu, half) == FLASH
        assert kernel(gpu, torch.float32) == "math"
    with sdpa_kernel([SDPBackend.EFFICIENT_ATTENTION, SDPBackend.FLASH_ATTENTION], set_priority=True):
        assert kernel(gpu, half) == EFFICIENT
    with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
        assert kernel(gpu, half) == CUDNN
    with (
        sdpa_kernel(SDPBackend.FLASH_ATTENTION),
        pytest.raises(RuntimeError, match=r"No available kernel\. Aborting execution\."),
        pytest.warns(UserWarning, match="do not fit"),
    ):
        kernel(gpu, torch.float32)
    torch.backends.cuda.enable_cudnn_sdp(False)
    torch.backends.cuda.enable_flash_sdp(False)
    try:
        assert kernel(gpu, half) == EFFICIENT
    finally:
        torch.backends.cuda.enable_flash_sdp(True)
        torch.backends.cuda.enable_cudnn_sdp(True)


def test_fused_saves_no_square_matrix(gpu: VirtualGpu) -> None:
    q = torch.randn(1, 4, 1024, 64, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    out = F.scaled_dot_product_attention(q, q, q)
    assert torch.cuda.max_memory_allocated() - before < 3 * q.nbytes
    with sdpa_kernel(SDPBackend.MATH):
        F.scaled_dot_product_attention(q, q, q)
    assert torch.cuda.max_memory_allocated() - before > 4 * 1024 * 1024 * 2
    assert out.requires_grad


@pytest.mark.parametrize("need_weights", [True, False])
def test_multihead_attention(gpu: VirtualGpu, need_weights: bool) -> None:
    layer = nn.MultiheadAttention(64, 4, batch_first=True, dropout=0.1).cuda().bfloat16()
    x = torch.randn(2, 16, 64, device="cuda", dtype=torch.bfloat16)
    out, weights = layer(x, x, x, need_weights=need_weights)
    out.sum().backward()
    assert out.shape == (2, 16, 64)
    assert layer.in_proj_weight.grad is not None
    names = {op.name for op in gpu.tape().ops}
    if need_weights:
        assert weights.shape == (2, 16, 16)
        assert not names & FUSED
    else:
        assert weights is None
        assert FLASH in names
    layer.eval()
    with torch.no_grad():
        out, weights = layer(x, x, x, need_weights=need_weights)
    assert out.shape == (2, 16, 64)
    assert not need_weights or weights.shape == (2, 16, 16)


def test_transformer_encoder_train_and_eval(gpu: VirtualGpu) -> None:
    layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2).cuda()
    x = torch.randn(2, 16, 64, device="cuda")
    padding = torch.zeros(2, 16, dtype=torch.bool)
    padding[0, 10:] = True
    encoder(x, src_key_padding_mask=padding.cuda()).sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())
    encoder.eval()
    with torch.no_grad():
        assert encoder(x).shape == (2, 16, 64)
        assert encoder(x, src_key_padding_mask=padding.cuda()).shape[0] == 2
        assert encoder.layers[0](x).shape == (2, 16, 64)
    with torch.inference_mode():
        assert encoder(x).device.type == "cuda"
    causal = nn.Transformer.generate_square_subsequent_mask(16, device="cuda")
    encoder.train()
    assert encoder(x, mask=causal, is_causal=True).shape == (2, 16, 64)
    assert EFFICIENT in {op.name for op in gpu.tape().ops}


def test_whole_transformer() -> None:
    with VirtualGpu(gpu_row("h100-sxm-80gb")):
        model = nn.Transformer(32, 4, 1, 1, 64, batch_first=True).cuda()
        source, target = torch.randn(2, 7, 32).cuda(), torch.randn(2, 5, 32).cuda()
        mask = model.generate_square_subsequent_mask(5).cuda()
        model(source, target, tgt_mask=mask).mean().backward()
        with torch.autocast("cuda", dtype=torch.bfloat16):
            assert model(source, target).shape == (2, 5, 32)
        model.eval()
        with torch.no_grad():
            assert model(source, target).shape == (2, 5, 32)


def test_autocast_gives_flash(gpu: VirtualGpu) -> None:
    q = torch.randn(2, 4, 16, 64, device="cuda")
    with torch.autocast("cuda", dtype=torch.bfloat16):
        assert F.scaled_dot_product_attention(q, q, q).dtype is torch.bfloat16
    assert CUDNN in {op.name for op in gpu.tape().ops}


def test_flex_attention_is_one_kernel(gpu: VirtualGpu) -> None:
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    q = torch.randn(1, 2, 128, 16, device="cuda", requires_grad=True)
    mask = create_block_mask(lambda b, h, i, j: i >= j, None, None, 128, 128, device="cuda")
    out = torch.compile(flex_attention)(q, q, q, block_mask=mask)
    assert out.shape == q.shape
    out.sum().backward()
    assert q.grad is not None
    out, lse = flex_attention(q, q, q, return_lse=True)
    assert lse.shape == (1, 2, 128)
    assert any("flex_attention" in text for text in gpu.assumptions)
