"""How long one operation takes on a machine: arithmetic, memory traffic, fixed costs, and what bounds it."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

from trainworthy.estimate.gpu_kernels import gpu_kernel_times
from trainworthy.estimate.host_costs import issue_s
from trainworthy.estimate.measured_kernels import kernel_time
from trainworthy.estimate.op_classes import op_class

if TYPE_CHECKING:
    from trainworthy.estimate.machine import Machine
    from trainworthy.tape.record import Phase, Signature

Bound = Literal["compute", "memory", "latency", "host", "none"]


class OpTime(NamedTuple):
    """Seconds of one operation. ``known`` is false where the operation's arithmetic has no formula.

    The device is busy for ``device_s``: arithmetic and memory traffic overlap, the fixed part comes on top, and on a
    CPU what ``stall_s`` says: data further away than the operation's own working set, pages that are fresh. The host
    is busy for ``host_s``; on a GPU it runs ahead of the device, on a CPU both are the same thread and add up.
    """

    compute_s: float
    memory_s: float
    latency_s: float
    host_s: float
    bound: Bound
    known: bool
    stall_s: float = 0.0

    @property
    def device_s(self) -> float:
        """Return how long the device is busy."""
        return max(self.compute_s, self.memory_s) + self.latency_s + self.stall_s


def op_time(signature: Signature, *, machine: Machine, phase: Phase = "forward", training: bool = True) -> OpTime:
    """Return the time of one operation on ``machine``, alone and with its operands in memory.

    ``phase`` decides what the host spends: Python with autograd, the engine of the backward pass, or an optimizer's
    loop. Collectives take no time here: the network is another model. ``training`` is false for a step without a
    backward pass, whose batch norms read their running statistics.
    """
    return _op_time(signature, machine, phase, training)


@lru_cache(maxsize=65536)
def _op_time(signature: Signature, machine: Machine, phase: Phase, training: bool) -> OpTime:
    kind = op_class(signature.name)
    host_s = issue_s(signature, host=machine.host, phase=phase)
    if kind in {"view", "collective"} or signature.collective is not None:
        return OpTime(0.0, 0.0, 0.0, host_s, "host", known=True)
    if machine.calibration is not None and machine.calibration.curves:
        compute_s, memory_s, latency_s = _measured_times(signature, machine)
    else:
        compute_s, memory_s, latency_s = gpu_kernel_times(
            signature, machine=machine, training=training, rates=machine.rates
        )
    bound: Bound = "compute" if compute_s > memory_s else "memory"
    if latency_s > max(compute_s, memory_s):
        bound = "latency"
    return OpTime(compute_s, memory_s, latency_s, host_s, bound, known=signature.flops is not None)


def _measured_times(signature: Signature, machine: Machine) -> tuple[float, float, float]:
    kernel = kernel_time(signature, machine=machine)
    fixed_s = min(machine.launch_latency_s, kernel.total_s)
    busy_s = kernel.total_s - fixed_s
    if kernel.compute_share >= 1.0:
        return busy_s, 0.0, fixed_s
    return busy_s * kernel.compute_share, busy_s, fixed_s
