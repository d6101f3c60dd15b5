"""Operations whose memory layout depends on the backend, which meta kernels cannot know."""

from __future__ import annotations

from typing import Any

import torch
from torch._prims_common import suggest_memory_format

from trainworthy.virtual.device import VirtualDevice, handles
from trainworthy.virtual.errors import shown_device
from trainworthy.virtual.tensors import META, claim

_LAYOUTS = (torch.channels_last, torch.channels_last_3d)


def _layout(*tensors: torch.Tensor) -> torch.memory_format | None:
    """Return channels_last if the input or the weight has it: cuDNN and oneDNN follow either.

    Source: ``cudnn_conv_suggest_memory_format`` and ``mkldnn_conv_suggest_memory_format`` in
    ``aten/src/ATen/native/ConvUtils.h``; float64 stays contiguous.
    """
    for tensor in tensors:
        if tensor.dim() < 4 or tensor.stride(1) != 1 or tensor.dtype is torch.float64:
            continue
        found = suggest_memory_format(tensor)
        if found in _LAYOUTS:
            return found
    return None


def _laid_out(tensor: torch.Tensor | None, layout: torch.memory_format) -> torch.Tensor | None:
    if tensor is None or tensor.dim() not in {4, 5}:
        return tensor
    made = torch.empty(tensor.shape, dtype=tensor.dtype, device=META, memory_format=layout)
    return claim(made, shown_device(tensor))


@handles("convolution")
def _convolution(device: VirtualDevice, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    layout = _layout(*args[:2])
    if layout is None:
        return NotImplemented
    return _laid_out(device.meta(func, args, kwargs, shown_device(args[0])), layout)


@handles("convolution_backward")
def _convolution_backward(device: VirtualDevice, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    layout = _layout(*args[1:3])
    if layout is None:
        return NotImplemented
    x, weight, bias = device.meta(func, args, kwargs, shown_device(args[0]))
    return _laid_out(x, layout), _laid_out(weight, layout), bias
