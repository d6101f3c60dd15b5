"""Tensors that require grad are virtual from birth, like parameters.

Autograd takes the device of a gradient from the tensor it belongs to. A real leaf that meets a
virtual parameter would get a virtual gradient, which the engine refuses; so would a real tensor into
which virtual results are written (``total = torch.zeros(1); total += loss``).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch._C import TensorBase

from trainworthy.virtual import values
from trainworthy.virtual.patching import Patches
from trainworthy.virtual.tensors import CPU, claim, like_real, raw_device, raw_is_meta

if TYPE_CHECKING:
    from trainworthy.virtual.gpu import VirtualGpu

_IN_PLACE = (
    "__setitem__", "__iadd__", "__isub__", "__imul__", "__itruediv__", "add_", "sub_", "mul_", "div_", "copy_",
    "addmm_", "addcmul_", "addcdiv_", "baddbmm_", "index_add_", "index_copy_", "index_put_", "lerp_",
    "masked_scatter_", "scatter_", "scatter_add_",
)  # fmt: skip
_requires_grad: Any = TensorBase.requires_grad


def _is_real(tensor: torch.Tensor) -> bool:
    return (
        type(tensor) is torch.Tensor
        and not raw_is_meta(tensor)
        and tensor.layout is torch.strided
        and raw_device(tensor).type == "cpu"
    )


def _make_virtual(gpu: VirtualGpu, tensor: torch.Tensor) -> None:
    """Turn a real leaf virtual, in place; a tensor that C++ still holds stays real."""
    if not _is_real(tensor) or tensor.requires_grad or torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        return
    base = tensor._base
    if base is not None:
        _make_virtual(gpu, base)
        if raw_is_meta(base):
            view = base.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())
            torch._C._swap_tensor_impl(tensor, view)
        return
    with torch._C._DisableTorchDispatch():  # not an operation of the script
        virtual = claim(like_real(tensor.detach()), CPU)
        if values.small_enough(tensor):
            values.set_shadow(virtual, tensor.detach().clone())
        try:
            torch._C._swap_tensor_impl(tensor, virtual)
        except RuntimeError:
            return
    gpu.recorder.adopt(tensor, None, "requires_grad_")


def _in_place(gpu: VirtualGpu, raw: Callable[..., Any]) -> Callable[..., Any]:
    """Make a real tensor virtual before a virtual one that requires grad is written into it."""

    @functools.wraps(raw)
    def write(self: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if not raw_is_meta(self) and torch.is_grad_enabled() and any(_brings_gradient(a) for a in args):
            _make_virtual(gpu, self)
        return raw(self, *args, **kwargs)

    return write


def _brings_gradient(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and raw_is_meta(value) and value.requires_grad


def _variable(cls: type, *args: Any, requires_grad: bool = False, **kwargs: Any) -> torch.Tensor:
    """``Variable(x, requires_grad=True)`` of old scripts."""
    made: torch.Tensor = torch._C._LegacyVariableBase.__new__(cls, *args, **kwargs)
    return made.requires_grad_() if requires_grad else made


def leaf_patches(gpu: VirtualGpu) -> Patches:
    """Plan the changes to ``requires_grad`` and to ``Variable``."""
    patches = Patches()

    def requires_grad_(self: torch.Tensor, requires_grad: bool = True) -> torch.Tensor:
        if requires_grad:
            _make_virtual(gpu, self)
        return TensorBase.requires_grad_(self, requires_grad)

    def set_requires_grad(self: torch.Tensor, wanted: bool) -> None:
        if wanted:
            _make_virtual(gpu, self)
        _requires_grad.__set__(self, wanted)

    patches.set(torch.Tensor, "requires_grad_", requires_grad_)
    patches.set(torch.Tensor, "requires_grad", property(_requires_grad.__get__, set_requires_grad))
    for name in _IN_PLACE:
        patches.set(torch.Tensor, name, _in_place(gpu, getattr(torch.Tensor, name)))
    patches.set(torch.autograd.Variable, "__new__", staticmethod(_variable))
    return patches
