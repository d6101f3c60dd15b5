"""Attention that Python code of torch chooses: FlexAttention, and the fast path of ``nn`` layers."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import torch
from torch.backends import mha
from torch.nn.attention import flex_attention as flex

from trainworthy.virtual.overrides import below
from trainworthy.virtual.patching import Patches
from trainworthy.virtual.tensors import is_virtual

if TYPE_CHECKING:
    from trainworthy.virtual.gpu import VirtualGpu

aten = torch.ops.aten
_FLEX = ("flex_attention is counted as one fused kernel over the whole matrix: blocks that its mask "
         "skips are counted too, and tensors that score_mod captures get no gradient")  # fmt: skip


def _flex_attention(gpu: VirtualGpu) -> Any:
    raw = flex.flex_attention

    @functools.wraps(raw)
    def flex_attention(
        query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, score_mod: Any = None,
        block_mask: Any = None, scale: float | None = None, enable_gqa: bool = False,
        return_lse: bool = False, kernel_options: Any = None, *, return_aux: Any = None,
    ) -> Any:  # fmt: skip
        if not is_virtual(query):
            return raw(query, key, value, score_mod, block_mask, scale, enable_gqa, return_lse,
                       kernel_options, return_aux=return_aux)  # fmt: skip
        gpu.assume(_FLEX)
        with below():
            out, lse = aten._scaled_dot_product_flash_attention.default(query, key, value, scale=scale)[:2]
        if return_aux is not None:
            maximum = lse.clone() if return_aux.max_scores else None
            return out, flex.AuxOutput(lse=lse if return_aux.lse else None, max_scores=maximum)
        return (out, lse) if return_lse else out

    return flex_attention


def attention_patches(gpu: VirtualGpu) -> Patches:
    """Plan the changes.

    The fast path of ``nn.TransformerEncoder`` in evaluation uses nested tensors, whose sizes are
    data; without it the same products run one by one.
    """
    patches = Patches()
    patches.set(flex, "flex_attention", _flex_attention(gpu))
    patches.set(mha, "get_fastpath_enabled", lambda: False)
    return patches
