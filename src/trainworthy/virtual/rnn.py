"""Recurrent layers as CUDA runs them: one cuDNN call for all layers and time steps."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from trainworthy.virtual.attention import Hardware
from trainworthy.virtual.autocast import autocast_device, cast
from trainworthy.virtual.errors import scalar_name, shown_device
from trainworthy.virtual.overrides import below, override
from trainworthy.virtual.tensors import CPU, claim, like_real, raw_is_meta

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


def _check_attributes(x: torch.Tensor, hx: Sequence[torch.Tensor], params: Sequence[torch.Tensor]) -> None:
    """Refuse what ``check_attributes`` of ``RNN.cpp`` refuses."""
    for name, tensor in [*(("hidden", h) for h in hx), *(("parameter", p) for p in params)]:
        here, there = shown_device(x), shown_device(tensor)
        if here != there:
            raise RuntimeError(
                f"Input and {name} tensors are not at the same device, found input tensor at {here} and "
                f"{name} tensor at {there}"
            )
        if x.dtype != tensor.dtype:
            raise RuntimeError(
                f"Input and {name} tensors are not the same dtype, found input tensor with {scalar_name(x)} and "
                f"{name} tensor with {scalar_name(tensor)}"
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
    _check_attributes(x, hx, params)
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


def _all_virtual(values: Any) -> Any:
    """Turn real CPU tensors (states made by the layer itself) virtual."""
    if isinstance(values, torch.Tensor):
        return values if raw_is_meta(values) else claim(like_real(values), CPU)
    return type(values)(_all_virtual(v) for v in values)


def _on_mkldnn(name: str, x: torch.Tensor, hx: Sequence[torch.Tensor], params: Any) -> bool:
    return (
        name == "lstm"
        and raw_is_meta(x)
        and torch.backends.mkldnn.is_available()
        and x.numel() > 0
        and hx[0].shape[-1] == params[1].shape[-1]
        and params[1].shape[0] == 4 * hx[0].shape[-1]
    )


def _run_on_mkldnn(
    x: torch.Tensor, hx: Sequence[torch.Tensor], params: Sequence[torch.Tensor], has_biases: bool,
    layers: int, dropout: float, train: bool, bidirectional: bool, batch_first: bool,
) -> tuple[torch.Tensor, ...]:  # fmt: skip
    """Run an LSTM as the CPU does: one MKLDNN call a layer and direction (``mkldnn/RNN.cpp``)."""
    directions, per = (2 if bidirectional else 1), (4 if has_biases else 2)
    width = hx[0].shape[-1]
    x = x.transpose(0, 1) if batch_first else x
    x = x.contiguous()
    hidden, cells = [], []
    for layer in range(layers):
        outputs = []
        for direction in range(directions):
            at = layer * directions + direction
            weights = params[at * per : at * per + per]
            biases = weights[2:] if has_biases else [torch.zeros_like(weights[0][:, 0])] * 2
            y, hy, cy, _ = aten.mkldnn_rnn_layer.default(
                x, weights[0], weights[1], biases[0], biases[1], hx[0][at], hx[1][at],
                direction == 1, [], 2, width, layers, has_biases, bidirectional, False, train,
            )  # fmt: skip
            outputs.append(y)
            hidden.append(hy)
            cells.append(cy)
        x = torch.cat(outputs, 2) if bidirectional else outputs[0]
        if dropout and train and layer < layers - 1:
            x = torch.nn.functional.dropout(x, dropout)
    states = (torch.stack(hidden, 0), torch.stack(cells, 0))
    return (x.transpose(0, 1) if batch_first else x, *states)


def _gru_cell(projected: torch.Tensor, hidden: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None) -> torch.Tensor:
    from_input = projected.unsafe_chunk(3, 1)
    from_hidden = torch.nn.functional.linear(hidden, w, b).unsafe_chunk(3, 1)
    reset = from_hidden[0].add_(from_input[0]).sigmoid_()
    update = from_hidden[1].add_(from_input[1]).sigmoid_()
    new = from_input[2].add(from_hidden[2].mul_(reset)).tanh_()
    return (hidden - new).mul_(update).add_(new)


def _simple_cell(name: str) -> Any:
    activation = torch.tanh if name == "rnn_tanh" else torch.relu

    def cell(projected: torch.Tensor, hidden: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None) -> torch.Tensor:
        return activation(torch.nn.functional.linear(hidden, w, b).add_(projected))

    return cell


def _run_by_steps(
    name: str, x: torch.Tensor, hx: torch.Tensor, params: Sequence[torch.Tensor],
    has_biases: bool, layers: int, dropout: float, train: bool, bidirectional: bool,
    batch_first: bool,
) -> tuple[torch.Tensor, ...]:  # fmt: skip
    """Run a GRU or simple layer as the CPU does: all inputs projected at once, then step by step.

    ``aten/src/ATen/native/RNN.cpp`` (FullLayer) projects at once on the CPU only, so a meta tensor
    would take the other way.
    """
    directions, per = (2 if bidirectional else 1), (4 if has_biases else 2)
    cell = _gru_cell if name == "gru" else _simple_cell(name)
    x = x.transpose(0, 1) if batch_first else x
    last = []
    for layer in range(layers):
        outputs = []
        for direction in range(directions):
            at = layer * directions + direction
            weights = params[at * per : at * per + per]
            b_x, b_h = (weights[2], weights[3]) if has_biases else (None, None)
            steps = list(torch.nn.functional.linear(x, weights[0], b_x).unbind(0))
            hidden, states = hx[at], []
            for step in reversed(steps) if direction else steps:
                hidden = cell(step, hidden, weights[1], b_h)
                states.append(hidden)
            outputs.append(torch.stack(states[::-1] if direction else states, 0))
            last.append(hidden)
            del steps, states
        x = torch.cat(outputs, 2) if bidirectional else outputs[0]
        if dropout and train and layer < layers - 1:
            x = torch.nn.functional.dropout(x, dropout)
    return (x.transpose(0, 1) if batch_first else x), torch.stack(last, 0)


def _padded(name: str) -> None:
    func = getattr(aten, name).input

    @override(f"{name}.input")
    def layer(
        x: torch.Tensor, hx: Any, params: Any, has_biases: bool, layers: int, dropout: float,
        train: bool, bidirectional: bool, batch_first: bool,
    ) -> Any:  # fmt: skip
        with below():
            if raw_is_meta(x) or raw_is_meta(params[0]):
                x, hx = _all_virtual(x), _all_virtual(hx)
            if not _on_cudnn(x):
                run: Any = func
                if name == "lstm" and _on_mkldnn(name, x, hx, params):
                    run = _run_on_mkldnn
                elif name != "lstm" and raw_is_meta(x):
                    run = partial(_run_by_steps, name)
                return run(x, hx, params, has_biases, layers, dropout, train, bidirectional, batch_first)
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
            if raw_is_meta(data) or raw_is_meta(params[0]):
                data, hx = _all_virtual(data), _all_virtual(hx)
            if not _on_cudnn(data):
                return func(data, batch_sizes, hx, params, has_biases, layers, dropout, train, bidirectional)
            states = hx if name == "lstm" else (hx,)
            sizes = [int(n) for n in batch_sizes.tolist()]
            return _run(name, data, states, params, has_biases, layers, dropout, train,
                        bidirectional, False, sizes)  # fmt: skip


for _name in _MODES:
    _padded(_name)
    _packed(_name)
