"""Which attention kernel CUDA would choose.

The rules are those of ``aten/src/ATen/native/transformers/cuda/sdp_utils.cpp``: backends are tried
in order, and the first whose conditions hold runs. cuDNN comes first on Hopper and Blackwell data
centre cards when its version is above 9.15, as it is in torch's wheels for CUDA 13.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import NamedTuple

import torch

_HALF = frozenset({torch.float16, torch.bfloat16})
_DEFAULT_ORDER = [1, 2, 0, 3]
_NAMES = {0: "math", 1: "flash", 2: "efficient", 3: "cudnn"}


class Call(NamedTuple):
    """The arguments of one call that the choice depends on, and the card's capability."""

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    mask: torch.Tensor | None
    dropout: float
    is_causal: bool
    enable_gqa: bool
    capability: tuple[int, int]

    @property
    def width(self) -> int:
        """Return the size of a head."""
        return self.q.shape[-1]

    @property
    def trains(self) -> bool:
        """Tell whether a gradient is wanted."""
        return torch.is_grad_enabled() and any(t.requires_grad for t in (self.q, self.k, self.v))


def cudnn_version(capability: tuple[int, int]) -> int:
    """Return the cuDNN of the newest wheel for the card: CUDA 13 left Volta out."""
    return 92000 if capability >= (7, 5) else 91002


def choose_cuda_kernel(call: Call) -> str:
    """Return "cudnn", "flash", "efficient" or "math"; raise if nothing is left."""
    backends = torch.backends.cuda
    enabled = {"flash": backends.flash_sdp_enabled(), "math": backends.math_sdp_enabled(),
               "efficient": backends.mem_efficient_sdp_enabled(), "cudnn": backends.cudnn_sdp_enabled()}  # fmt: skip
    for name in _order(call.capability):
        if enabled[name] and _FITS[name](call):
            return name
    warnings.warn("Memory efficient, Flash and cuDNN attention kernels do not fit these inputs.", UserWarning,
                  stacklevel=4)  # fmt: skip
    raise RuntimeError("No available kernel. Aborting execution.")


def _order(capability: tuple[int, int]) -> list[str]:
    order = [n for n in torch._C._get_sdp_priority_order() if n in _NAMES]
    if order == _DEFAULT_ORDER and _prefers_cudnn(capability):
        order = [3, 1, 2, 0]
    return [_NAMES[n] for n in order]


def _prefers_cudnn(capability: tuple[int, int]) -> bool:
    if os.environ.get("TORCH_CUDNN_SDPA_DEPRIORITIZED", "0") == "1":
        return False
    return cudnn_version(capability) > 91500 and capability in {(9, 0), (10, 0), (10, 3)}


def _shapes_fit(call: Call, *, supports_gqa: bool, ignore_singleton: bool, same_kv: bool = True) -> bool:
    q, k, v = call.q, call.k, call.v
    if not all(t.dim() == 4 for t in (q, k, v)) or not q.dtype == k.dtype == v.dtype:
        return False
    if not (q.shape[0] == k.shape[0] == v.shape[0] and q.shape[2] and k.shape[2] and v.shape[2]):
        return False
    heads = [t.shape[1] for t in (q, k, v)]
    if call.enable_gqa and supports_gqa:
        divisible = heads[1] and heads[2] and not heads[0] % heads[1] and not heads[0] % heads[2]
        if not divisible or (same_kv and heads[1] != heads[2]):
            return False
    elif len(set(heads)) > 1:
        return False
    mask_fits = call.mask is None or call.mask.stride(-1) == 1 or call.mask.shape[-1] == 1
    return mask_fits and all(t.stride(-1) == 1 or (ignore_singleton and t.shape[-1] == 1) for t in (q, k, v))


def _low_precision(call: Call) -> bool:
    return call.q.dtype in (_HALF if call.capability >= (8, 0) else {torch.float16})


def _flash_fits(call: Call) -> bool:
    one_width = call.q.shape[-1] == call.k.shape[-1] == call.v.shape[-1]
    consumer = (8, 6) <= call.capability <= (8, 9) or call.capability >= (12, 0)
    too_wide = consumer and call.trains and not (call.width <= 192 or (call.width > 224 and not call.dropout))
    return (
        call.mask is None
        and call.capability >= (8, 0)
        and one_width
        and call.width <= 256
        and not too_wide
        and not (call.is_causal and call.q.shape[-2] != call.k.shape[-2])
        and _low_precision(call)
        and _shapes_fit(call, supports_gqa=True, ignore_singleton=True)
    )


def _efficient_fits(call: Call) -> bool:
    half = call.q.dtype in _HALF
    ampere = call.capability >= (8, 0)
    tensor_cores = ampere or (half and call.capability >= (7, 0))
    alignment = (8 if half else 4) if tensor_cores else 1
    return (
        (half or call.q.dtype is torch.float32)
        and (call.q.dtype is not torch.bfloat16 or ampere)
        and call.width > 0
        and call.width == call.k.shape[-1]
        and not call.width % alignment
        and not call.v.shape[-1] % alignment
        and _shapes_fit(call, supports_gqa=False, ignore_singleton=False)
    )


def _cudnn_fits(call: Call) -> bool:
    q_len, k_len, v_width = call.q.shape[-2], call.k.shape[-2], call.v.shape[-1]
    data_centre = call.capability in {(9, 0), (10, 0), (10, 3)}
    limit = 256 if data_centre else 128
    return (
        not (call.mask is not None and call.mask.requires_grad)
        and call.capability >= (8, 0)
        and _low_precision(call)
        and not (torch.are_deterministic_algorithms_enabled()
                 and not torch.is_deterministic_algorithms_warn_only_enabled())
        and (call.dropout * 16).is_integer()
        and _shapes_fit(call, supports_gqa=True, ignore_singleton=True, same_kv=False)
        and call.width <= limit
        and v_width <= limit
        and not call.width % 8
        and not v_width % 8
        and not (call.trains and call.width > 128 and (call.width, v_width) not in {(192, 128), (256, 256)})
        and k_len != 1
        and not (call.dropout and q_len == 1)
    )  # fmt: skip


_FITS: dict[str, Callable[[Call], bool]] = {
    "flash": _flash_fits, "efficient": _efficient_fits, "cudnn": _cudnn_fits, "math": lambda call: True,
}  # fmt: skip
