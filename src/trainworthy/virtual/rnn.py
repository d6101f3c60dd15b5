"""Recurrent layers as CUDA runs them: one cuDNN call for all layers and time steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from trainworthy.virtual.attention import Hardware
from trainworthy.virtual.autocast import autocast_device, cast
from trainworthy.virtual.errors import shown_device
from trainworthy.virtual.overrides import below, override
from trainworthy.virtual.tensors import raw_is_meta

aten = torch.ops.aten
_MODES = {"rnn_relu": 0, "rnn_tanh": 1, "lstm": 2, "gru": 3}


def _on_cudnn(x: torch.Tensor) -> bool:
    return (
        raw_is_meta(x)
        and shown_device(x).type == "cuda"
        and not Hardware.imitate_cpu
        and torch.backends.cudnn.enabled
        and x.dtype in {torch.float16, torch.bfloat16, torch.float32, torch.float64}
    )


def _run(
    name: str, x: torch.Tensor, hx: Sequence[torch.Tensor], params: Sequence[torch.Tensor],
    has_biases: bool, layers: int, dropout: float, train: bool, bidirectional: bool,
    batch_first: bool, batch_sizes: Sequence[int],
) -> tuple[torch.Tensor, ...]:  # fmt: skip
    kind = autocast_device((x,))
    if kind is not None:
        dtype = torch.get_autocast_dtype(kind)
        x, hx, params = cast(x, dtype), cast(tuple(hx), dtype), cast(tuple(params), dtype)
    hidden, cell = (hx[0], hx[1]) if name == "lstm" else (hx[0], None)
    width = params[1].shape[0] // {0: 1, 1: 1, 2: 4, 3: 3}[_MODES[name]]
    per_layer = 4 if has_biases else 2
    projected = name == "lstm" and hidden.shape[-1] != width
    if projected:
        per_layer += 1
    y, hy, cy, _, _ = aten._cudnn_rnn.default(
        x, list(params), per_layer, None, hidden, cell, _MODES[name], width,
        hidden.shape[-1] if projected else 0, layers, batch_first, dropout, train, bidirectional,
        list(batch_sizes), None,
    )  # fmt: skip
    return (y, hy, cy) if name == "lstm" else (y, hy)


def _padded(name: str) -> None:
    func = getattr(aten, name).input

    @override(f"{name}.input")
    def layer(
        x: torch.Tensor, hx: Any, params: Any, has_biases: bool, layers: int, dropout: float,
        train: bool, bidirectional: bool, batch_first: bool,
    ) -> Any:  # fmt: skip
        with below():
            if not _on_cudnn(x):
                return func(x, hx, params, has_biases, layers, dropout, train, bidirectional, batch_first)
            states = hx if name == "lstm" else (hx,)
            return _run(name, x, states, params, has_biases, layers, dropout, train,
                        bidirectional, batch_first, ())  # fmt: skip


def _packed(name: str) -> None:
    func = getattr(aten, name).data

    @override(f"{name}.data")
    def layer(
        data: torch.Tensor, batch_sizes: torch.Tensor, hx: Any, params: Any, has_biases: bool,
        layers: int, dropout: float, train: bool, bidirectional: bool,
    ) -> Any:  # fmt: skip
        with below():
            if not _on_cudnn(data):
                return func(data, batch_sizes, hx, params, has_biases, layers, dropout, train, bidirectional)
            states = hx if name == "lstm" else (hx,)
            sizes = [int(n) for n in batch_sizes.tolist()]
            return _run(name, data, states, params, has_biases, layers, dropout, train,
                        bidirectional, False, sizes)  # fmt: skip


for _name in _MODES:
    _padded(_name)
    _packed(_name)
