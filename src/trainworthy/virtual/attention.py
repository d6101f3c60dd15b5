"""Which attention kernel CUDA would choose, and dropout as one kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from trainworthy.virtual.attention_choice import Call, choose_cuda_kernel
from trainworthy.virtual.autocast import autocast_device, cast
from trainworthy.virtual.errors import check_attention, shown_device
from trainworthy.virtual.overrides import below, override
from trainworthy.virtual.tensors import raw_is_meta

aten = torch.ops.aten


class Hardware:
    """What the choice of kernels depends on; set by the virtual GPU that is in force."""

    capability: tuple[int, int] = (9, 0)
    imitate_cpu: bool = False


@override("scaled_dot_product_attention")
def _attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0, is_causal: bool = False, *, scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:  # fmt: skip
    if not raw_is_meta(q):
        with below():
            return aten.scaled_dot_product_attention.default(
                q, k, v, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
            )
    kind = autocast_device((q,))
    if kind is not None:
        dtype = torch.get_autocast_dtype(kind)
        with below():
            q, k, v, attn_mask = (cast(t, dtype) for t in (q, k, v, attn_mask))
    check_attention(q, k, v)
    choice = choose_kernel(q, k, v, attn_mask, dropout_p, is_causal, enable_gqa)
    with below():
        return _RUN[choice](q, k, v, attn_mask, dropout_p, is_causal, scale, enable_gqa)


def choose_kernel(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None,
    dropout_p: float, is_causal: bool, enable_gqa: bool,
) -> str:  # fmt: skip
    """Return "cudnn", "flash", "efficient", "math", or "cpu" for the CPU's fused kernel."""
    if shown_device(q).type != "cuda" or Hardware.imitate_cpu:
        return "cpu" if _cpu_flash_fits(q, k, v, mask, dropout_p) else "math"
    call = Call(q, k, v, mask, dropout_p, is_causal, enable_gqa, Hardware.capability)
    return choose_cuda_kernel(call)


def _cpu_flash_fits(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None, dropout_p: float
) -> bool:
    return (
        all(t.dim() == 4 and t.stride(-1) == 1 for t in (q, k, v))
        and dropout_p == 0.0
        and q.shape[-1] == v.shape[-1]
        and q.numel() > 0
        and not (mask is not None and mask.requires_grad)
        and torch.backends.cuda.flash_sdp_enabled()
    )


def _flash(q: Any, k: Any, v: Any, mask: Any, p: float, causal: bool, scale: Any, gqa: bool) -> Any:
    width = q.shape[-1]
    if width % 8:  # padded to a multiple of 8, as in C++
        pad = (0, 8 - width % 8)
        q, k, v = (torch.nn.functional.pad(t, pad) for t in (q, k, v))
        scale = scale if scale is not None else width**-0.5
    out = aten._scaled_dot_product_flash_attention.default(q, k, v, p, causal, scale=scale)[0]
    return out[..., :width] if width % 8 else out


def _efficient(q: Any, k: Any, v: Any, mask: Any, p: float, causal: bool, scale: Any, gqa: bool) -> Any:
    if mask is not None:
        if mask.dtype is torch.bool:
            mask = torch.zeros_like(mask, dtype=q.dtype).masked_fill_(mask.logical_not(), float("-inf"))
        if mask.shape[-1] % 16:  # the kernel wants aligned rows: a padded copy, sliced back
            padded = torch.nn.functional.pad(mask, (0, 16 - mask.shape[-1] % 16))
            mask = padded[..., : mask.shape[-1]]
        mask = mask.expand(q.shape[0], q.shape[1], q.shape[2], k.shape[2])
    needs = torch.is_grad_enabled() and any(t.requires_grad for t in (q, k, v))
    return aten._scaled_dot_product_efficient_attention.default(q, k, v, mask, needs, p, causal, scale=scale)[0]


def _cudnn(q: Any, k: Any, v: Any, mask: Any, p: float, causal: bool, scale: Any, gqa: bool) -> Any:
    if mask is not None and mask.dtype is torch.bool:
        mask = torch.zeros_like(mask, dtype=q.dtype).masked_fill_(mask.logical_not(), float("-inf"))
    needs = torch.is_grad_enabled() and any(t.requires_grad for t in (q, k, v))
    return aten._scaled_dot_product_cudnn_attention.default(q, k, v, mask, needs, p, causal, scale=scale)[0]


def _cpu(q: Any, k: Any, v: Any, mask: Any, p: float, causal: bool, scale: Any, gqa: bool) -> Any:
    if mask is not None and mask.dtype is torch.bool:
        mask = torch.zeros_like(mask, dtype=q.dtype).masked_fill_(mask.logical_not(), float("-inf"))
    if gqa:
        k, v = (t.repeat_interleave(q.shape[1] // t.shape[1], 1) for t in (k, v))
    return aten._scaled_dot_product_flash_attention_for_cpu.default(q, k, v, p, causal, attn_mask=mask, scale=scale)[0]


def _math(q: Any, k: Any, v: Any, mask: Any, p: float, causal: bool, scale: Any, gqa: bool) -> Any:
    return aten._scaled_dot_product_attention_math.default(q, k, v, mask, p, causal, None, scale=scale, enable_gqa=gqa)[
        0
    ]


_RUN: dict[str, Callable[..., Any]] = {
    "flash": _flash, "efficient": _efficient, "cudnn": _cudnn, "cpu": _cpu, "math": _math,
}  # fmt: skip


@override("dropout")
def _dropout(x: torch.Tensor, p: float, train: bool) -> torch.Tensor:
    with below():
        # CUDA: one kernel and a mask of one byte per element; CPU: a mask in the input's type.
        one_kernel = raw_is_meta(x) and shown_device(x).type == "cuda" and not Hardware.imitate_cpu
        if one_kernel and train and 0 < p < 1 and x.numel():
            out: torch.Tensor = aten.native_dropout.default(x, p, True)[0]
            return out
        return aten.dropout.default(x, p, train)  # type: ignore[no-any-return]
