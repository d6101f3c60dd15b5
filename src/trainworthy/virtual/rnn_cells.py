"""Recurrent cells as CUDA runs them: two matrix products and one kernel for everything between.

The CPU takes gates apart into chunks, and so would a meta tensor. On CUDA ``_thnn_fused_lstm_cell`` and
``_thnn_fused_gru_cell`` read the products whole, and autograd keeps both of them beside the kernel's workspace: the
formula of the second derivative names them (``tools/autograd/derivatives.yaml``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from trainworthy.virtual.attention import Hardware
from trainworthy.virtual.autocast import autocast_device, cast
from trainworthy.virtual.device import VirtualDevice, handles
from trainworthy.virtual.errors import shown_device
from trainworthy.virtual.overrides import below, override
from trainworthy.virtual.tensors import new_virtual, raw_is_meta

aten = torch.ops.aten
Args = tuple[Any, ...]
_GRU_WORKSPACE = 5  # values a hidden unit that the backward pass reads (GRU_WORKSPACE_MULTIPLIER in RNN.cu)


def _cast(*values: Any) -> list[Any]:
    kind = autocast_device(values)
    return [cast(v, torch.get_autocast_dtype(kind)) for v in values] if kind == "cuda" else list(values)


def _is_fused(x: torch.Tensor) -> bool:
    return raw_is_meta(x) and shown_device(x).type == "cuda" and not Hardware.imitate_cpu


@override("lstm_cell")
def _lstm_cell(
    x: torch.Tensor, hx: Sequence[torch.Tensor], w_ih: torch.Tensor, w_hh: torch.Tensor,
    b_ih: torch.Tensor | None = None, b_hh: torch.Tensor | None = None,
) -> Any:  # fmt: skip
    with below():
        x, hidden, cell, w_ih, w_hh, b_ih, b_hh = _cast(x, *hx, w_ih, w_hh, b_ih, b_hh)
        if not _is_fused(x):
            return aten.lstm_cell.default(x, [hidden, cell], w_ih, w_hh, b_ih, b_hh)
        gates = (torch.nn.functional.linear(x, w_ih), torch.nn.functional.linear(hidden, w_hh))
        return aten._thnn_fused_lstm_cell.default(*gates, cell, b_ih, b_hh)[:2]


@override("gru_cell")
def _gru_cell(
    x: torch.Tensor, hx: torch.Tensor, w_ih: torch.Tensor, w_hh: torch.Tensor,
    b_ih: torch.Tensor | None = None, b_hh: torch.Tensor | None = None,
) -> Any:  # fmt: skip
    with below():
        x, hx, w_ih, w_hh, b_ih, b_hh = _cast(x, hx, w_ih, w_hh, b_ih, b_hh)
        if not _is_fused(x):
            return aten.gru_cell.default(x, hx, w_ih, w_hh, b_ih, b_hh)
        gates = (torch.nn.functional.linear(x, w_ih), torch.nn.functional.linear(hx, w_hh))
        return aten._thnn_fused_gru_cell.default(*gates, hx, b_ih, b_hh)[0]


def _like(tensor: torch.Tensor, *, width: int | None = None) -> torch.Tensor:
    shape = (*tensor.shape[:-1], width or tensor.shape[-1])
    return new_virtual(shape, tensor.dtype, shown_device(tensor))


@handles("_thnn_fused_lstm_cell")
def _fused_lstm(device: VirtualDevice, func: Any, args: Args, kwargs: dict[str, Any]) -> Any:
    gates, cell = args[0], args[2]
    return _like(cell), _like(cell), _like(gates)


@handles("_thnn_fused_lstm_cell_backward_impl")
def _fused_lstm_backward(device: VirtualDevice, func: Any, args: Args, kwargs: dict[str, Any]) -> Any:
    cell, workspace, has_bias = args[2], args[4], args[5]
    bias = new_virtual((workspace.shape[-1],), workspace.dtype, shown_device(workspace)) if has_bias else None
    return _like(workspace), _like(cell), bias


@handles("_thnn_fused_gru_cell")
def _fused_gru(device: VirtualDevice, func: Any, args: Args, kwargs: dict[str, Any]) -> Any:
    hidden = args[2]
    return _like(hidden), _like(hidden, width=_GRU_WORKSPACE * hidden.shape[-1])


@handles("_thnn_fused_gru_cell_backward")
def _fused_gru_backward(device: VirtualDevice, func: Any, args: Args, kwargs: dict[str, Any]) -> Any:
    grad, _, has_bias = args[:3]
    width = grad.shape[-1]
    gates = [_like(grad, width=3 * width) for _ in range(2)]
    biases = [new_virtual((3 * width,), grad.dtype, shown_device(grad)) if has_bias else None for _ in range(2)]
    return (*gates, _like(grad), *biases)
