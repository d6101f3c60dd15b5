"""Copies of virtual tensors: deepcopy, pickle, and parameters that are virtual from birth."""
# mypy: allow-untyped-calls, disable-error-code="no-any-return"

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from trainworthy.virtual import values
from trainworthy.virtual.errors import shown_device
from trainworthy.virtual.tensors import CPU, claim, is_virtual, like_real, new_virtual, raw_device, raw_is_meta

if TYPE_CHECKING:
    from trainworthy.virtual.gpu import VirtualGpu


def _deepcopy(self: torch.Tensor, memo: dict[int, Any]) -> torch.Tensor:
    if not self.is_leaf:
        raise RuntimeError(
            "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol "
            "at the moment.  If you were attempting to deepcopy a module, this may be because of a "
            "torch.nn.utils.weight_norm usage, see https://github.com/pytorch/pytorch/pull/103001"
        )
    if id(self) in memo:
        return memo[id(self)]
    with torch.no_grad():
        data = self.detach().clone()
    new = nn.Parameter(data, self.requires_grad) if isinstance(self, nn.Parameter) else data
    if not isinstance(self, nn.Parameter) and self.requires_grad:
        new.requires_grad_()
    if self.grad is not None:
        new.grad = copy.deepcopy(self.grad, memo)
    memo[id(self)] = new
    return new


def deepcopying(original: Any) -> Any:
    """Return ``__deepcopy__`` for virtual and other tensors."""

    def __deepcopy__(self: torch.Tensor, memo: dict[int, Any]) -> torch.Tensor:
        return _deepcopy(self, memo) if is_virtual(self) else original(self, memo)

    return __deepcopy__


def rebuild_virtual(
    shape: tuple[int, ...], stride: tuple[int, ...], dtype: torch.dtype, device: str,
    requires_grad: bool, is_parameter: bool,
) -> torch.Tensor:  # fmt: skip
    """Make a virtual tensor again from what ``pickle`` kept of it."""
    tensor = new_virtual(tuple(shape), dtype, torch.device(device), tuple(stride))
    if is_parameter:
        return nn.Parameter(tensor, requires_grad)
    return tensor.requires_grad_(requires_grad)


def pickling() -> dict[str, Any]:
    """Return ``__reduce_ex__`` for tensors and parameters: virtual ones keep no data."""
    original = torch.Tensor.__reduce_ex__

    def __reduce_ex__(self: torch.Tensor, protocol: Any) -> Any:
        if not is_virtual(self) or self.layout is not torch.strided:
            return original(self, protocol)
        state = (tuple(self.shape), self.stride(), self.dtype, str(shown_device(self)),
                 self.requires_grad and self.is_leaf, isinstance(self, nn.Parameter))  # fmt: skip
        return rebuild_virtual, state

    def parameter_reduce(self: nn.Parameter, protocol: Any) -> Any:
        return __reduce_ex__(self, protocol) if is_virtual(self) else parameter_original(self, protocol)

    parameter_original = nn.Parameter.__reduce_ex__
    return {"tensor": __reduce_ex__, "parameter": parameter_reduce}


def virtual_copy(real: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return a virtual tensor like a real one, with its values if it is small."""
    with torch._C._DisableTorchDispatch():  # not operations of the script
        out = claim(like_real(real.detach()), device)
        if values.small_enough(real) and real.layout is torch.strided:
            values.set_shadow(out, real.detach())
    return out


def make_parameter(gpu: VirtualGpu) -> Any:
    """Make ``nn.Parameter(real)`` virtual from birth, on the CPU until the model moves."""
    original = nn.Parameter.__new__

    def __new__(cls: type, data: Any = None, requires_grad: bool = True) -> Any:
        if isinstance(data, torch.Tensor) and not raw_is_meta(data) and raw_device(data).type == "cpu":
            data = virtual_copy(data, CPU)
            gpu.recorder.adopt(data, "parameter", "Parameter")
        elif isinstance(data, torch.Tensor) and is_virtual(data):
            gpu.recorder.mark((data,), "parameter", overwrite=True)
        return original(cls, data, requires_grad)

    return staticmethod(__new__)


def make_lazy(original: Any) -> Any:
    """Parameters and buffers of lazy modules are virtual from birth, like others."""

    def __new__(cls: type, *args: Any, **kwargs: Any) -> Any:
        made = original(cls, *args, **kwargs)
        with torch._C.DisableTorchFunctionSubclass():
            if raw_is_meta(made):
                return made
            data = new_virtual((0,), made.dtype, CPU)
            return torch.Tensor._make_subclass(cls, data, made.requires_grad)

    return staticmethod(__new__)
