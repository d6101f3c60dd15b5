"""What the host spends to issue an operation, by phase and by what the operation is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainworthy.estimate.op_classes import base_name, op_class

if TYPE_CHECKING:
    from trainworthy.hardware.calibration import HostCosts
    from trainworthy.tape.record import Phase, Signature, Tape

LOOP = "loop"
"""Operations that C++ issues in a row: on a CPU, the time steps of a GRU or of a recurrent layer without oneDNN."""

_OPTIMIZERS = {"optimizer_foreach": "foreach", "optimizer_fused": "fused"}


def host_key(signature: Signature) -> str:
    """Return what the host's time hangs on: the operation's name, for convolutions what kernels they are, ``view``."""
    kind = op_class(signature.name)
    if kind == "view":
        return "view"
    if kind in _OPTIMIZERS:
        return _OPTIMIZERS[kind]
    name = base_name(signature.name)
    if kind not in {"conv_forward", "conv_backward"}:
        return name
    place = 1 if kind == "conv_forward" else 2
    weight = signature.inputs[place].shape if len(signature.inputs) > place else ()
    if len(weight) < 3:
        return name
    if weight[1] == 1 and weight[0] > 1:
        return f"{name} depthwise"
    return f"{name} pointwise" if set(weight[2:]) == {1} else name


def host_units(signature: Signature) -> int:
    """Return of how many parts the host's time is the sum: tensors of an optimizer's kernel, steps of an RNN's layers.

    cuDNN launches kernels for each time step of each layer; the state, (layers, batch, hidden), tells how many.
    """
    kind = op_class(signature.name)
    if kind in _OPTIMIZERS:
        return len(signature.inputs)
    if kind in {"rnn_forward", "rnn_backward"} and signature.inputs and len(signature.inputs[0].shape) == 3:
        first, second, _ = signature.inputs[0].shape
        state = next((meta.shape for meta in signature.inputs[1:] if len(meta.shape) == 3), (1, second, 1))
        return state[0] * (second if state[1] == first != second else first)
    return 1


def loop_modules(tape: Tape) -> frozenset[int]:
    """Return the modules whose operations C++ issues in a row: only the cells in ATen split their gates that way."""
    return frozenset(row.module for row in tape.rows if tape.signatures[row.signature].name == "unsafe_split.Tensor")


def issue_s(signature: Signature, *, host: HostCosts, phase: Phase) -> float:
    """Return the seconds that the host spends on an operation.

    Where a calibration knows the operation, that for each of its parts; else what an operation of the phase takes.
    """
    key, part = host_key(signature), phase if phase in {"backward", "optimizer"} else "forward"
    for name in (f"{part}/{key}", f"{part}/{key.split()[0]}", f"forward/{key}" if part == "optimizer" else ""):
        if name in host.by_op:
            return host.by_op[name] * host_units(signature)
    if key == "view":
        return host.view_s
    if phase == "backward":
        return host.backward_op_s
    return host.optimizer_op_s if phase == "optimizer" else host.forward_op_s
