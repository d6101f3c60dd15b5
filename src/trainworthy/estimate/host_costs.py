"""What the host spends to issue an operation, by phase and by what the operation is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainworthy.estimate.op_classes import base_name, op_class

if TYPE_CHECKING:
    from trainworthy.hardware.calibration import HostCosts
    from trainworthy.tape.record import Phase, Signature

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


def issue_s(signature: Signature, *, host: HostCosts, phase: Phase) -> float:
    """Return the seconds that the host spends on an operation.

    Where a calibration knows the operation, that; else what an operation of the phase takes. Kernels over the tensors
    of an optimizer take the host's time for each tensor that they are given.
    """
    key = host_key(signature)
    if phase == "optimizer":
        each_s = host.by_op.get(f"optimizer/{key}")
        if each_s is not None:
            return each_s * len(signature.inputs)
    part = "backward" if phase == "backward" else "forward"
    found = host.by_op.get(f"{part}/{key}", host.by_op.get(f"{part}/{key.split()[0]}"))
    if found is not None:
        return found
    if key == "view":
        return host.view_s
    if phase == "backward":
        return host.backward_op_s
    return host.optimizer_op_s if phase == "optimizer" else host.forward_op_s
