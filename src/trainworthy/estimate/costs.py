"""What every row of a tape costs on a machine: time of the host, of the device, of the network."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

from trainworthy.estimate import gpu_defaults
from trainworthy.estimate.machine import Machine
from trainworthy.estimate.op_classes import op_class
from trainworthy.estimate.op_cost import Bound, OpTime, op_time
from trainworthy.estimate.tape_times import step_op_times
from trainworthy.estimate.topology import Topology
from trainworthy.tape.record import PHASES, Phase, Row, Signature, Tape

__all__ = [
    "AS_EXPECTED",
    "COMPILED_CALL_S",
    "COMPILED_STEP_S",
    "FUSED",
    "FUSED_ELEMENTWISE",
    "FUSED_LOSS",
    "FUSED_REDUCTION",
    "Cost",
    "Factors",
    "costs_of",
    "host_slowness",
]

FUSED = "compiled."  # begins the names of operations that stand for a compiled kernel, see ``fusion.py``

FUSED_ELEMENTWISE, FUSED_REDUCTION, FUSED_LOSS = "fused_elementwise", "fused_reduction", "fused_cross_entropy"
# Kernels that stand for several operations: class, and share of the bandwidth of streaming (as `kernel_rates` has it
# for elementwise work, reductions and losses).
_JOINED = {FUSED_ELEMENTWISE: ("fused", 1.0), FUSED_REDUCTION: ("fused", 0.8), FUSED_LOSS: ("loss", 0.8)}
_SHARE = 0.88  # of any other operation that is known by its traffic only

# What the host spends on a kernel in compiled code: a launch by generated code, without dispatcher and autograd.
# An assumption: CUDA's own launch takes the host 2 to 4 us, and the wrapper computes a grid and passes pointers.
COMPILED_CALL_S = 5e-6
# What calling compiled code takes once a step, forward and backward: guards, wrappers of the compiled graphs. By what
# an MLP of 64 x 256 took on two hosts three times slower than `gpu_defaults.HOST` (H100 and H200, torch 2.11).
COMPILED_STEP_S = 250e-6


def host_slowness(machine: Machine) -> float:
    """Return how many times longer this host takes to issue an operation than an undisturbed server CPU."""
    return machine.host.forward_op_s / gpu_defaults.HOST.forward_op_s


class Cost(NamedTuple):
    """One row of a tape. ``bound`` says which part of the device's time decides."""

    host_s: float
    device_s: float
    network_s: float
    compute_s: float
    memory_s: float
    latency_s: float
    bound: Bound
    op_class: str
    known: bool
    delay_s: float = 0.0


_LEFT_OUT = Cost(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, "none", "evaluation", known=True)


class Factors(NamedTuple):
    """How much longer than expected each kind of time takes, for the ends of a range."""

    device: float = 1.0
    host: float = 1.0
    network: float = 1.0


AS_EXPECTED = Factors()


def costs_of(
    tape: Tape, *, machine: Machine, topology: Topology | None = None, factors: Factors = AS_EXPECTED, rank: int = 0
) -> tuple[Cost, ...]:
    """Price every row of ``tape``; on a calibrated CPU by what runs before, as the mean over a step."""
    if machine.kind == "cpu" and machine.calibration is not None:
        return _in_order(tape, machine, topology, factors, rank)
    return tuple(
        _LEFT_OUT
        if is_evaluation(tape, row)
        else _cost(
            tape, tape.signatures[row.signature], PHASES[row.phase], machine=machine, topology=topology,
            factors=factors, rank=rank,
        )
        for row in tape.rows
    )  # fmt: skip


def _in_order(tape: Tape, machine: Machine, topology: Topology | None, factors: Factors, rank: int) -> tuple[Cost, ...]:
    """Price rows on a CPU: caches and fresh memory make the same operation take longer here than there."""
    times: dict[int, list[OpTime]] = {}
    for timed in step_op_times(tape, machine=machine):
        times.setdefault(timed.row, []).append(timed.time)
    out = []
    for number, row in enumerate(tape.rows):
        if is_evaluation(tape, row):
            out.append(_LEFT_OUT)
            continue
        cost = _cost(
            tape, tape.signatures[row.signature], PHASES[row.phase], machine=machine, topology=topology,
            factors=factors, rank=rank,
        )  # fmt: skip
        out.append(_in_place(cost, times[number], factors) if number in times else cost)
    return tuple(out)


def _in_place(cost: Cost, times: Sequence[OpTime], factors: Factors) -> Cost:
    """Return the cost with what the host and memory take where the operation stands, as the mean over a step."""
    stall_s = fmean(time.stall_s for time in times)
    cost = cost._replace(host_s=fmean(time.host_s for time in times) * factors.host)
    if not stall_s or not cost.device_s:
        return cost
    memory_s = max(cost.memory_s + stall_s, 0.0)
    bound = "memory" if memory_s > cost.compute_s else cost.bound
    device_s = max(cost.device_s + stall_s * factors.device, 0.0)
    return cost._replace(device_s=device_s, memory_s=memory_s, bound=bound)


def is_evaluation(tape: Tape, row: Row) -> bool:
    """Whether a row belongs to an evaluation: a module ran, but not for the training. It is left out of a step."""
    if PHASES[row.phase] != "other" or not tape.modules[row.module]:
        return False
    return tape.signatures[row.signature].collective is None


def _cost(
    tape: Tape, signature: Signature, phase: Phase, *, machine: Machine, topology: Topology | None, factors: Factors,
    rank: int,
) -> Cost:  # fmt: skip
    name = signature.name.removeprefix(FUSED)
    kind = _JOINED[name][0] if name in _JOINED else op_class(name)
    time = _time(signature._replace(name=name), machine, phase)
    host_s = time.host_s
    if signature.name.startswith(FUSED):
        # Strides of views are constants of generated code.
        host_s = 0.0 if kind == "view" else COMPILED_CALL_S * host_slowness(machine)
    if signature.collective is not None:
        seconds = 0.0
        if topology is not None:
            seconds = topology.seconds(signature.collective, tape.groups[signature.collective.group].ranks, rank=rank)
        return Cost(
            host_s=host_s * factors.host, device_s=0.0, network_s=seconds * factors.network, compute_s=0.0,
            memory_s=0.0, latency_s=0.0, bound="none", op_class="collective", known=True,
        )  # fmt: skip
    on_device = runs_on(signature, tape.device)
    device_s = time.device_s if on_device else 0.0
    if not on_device and machine.kind == "gpu":
        host_s += time.device_s * _HOST_SLOWER  # an operation of the host on the host's memory
    copied_s = _host_copy_s(signature, tape.device, machine)
    if copied_s is not None:
        device_s = copied_s
    return Cost(
        host_s=host_s * factors.host, device_s=device_s * factors.device, network_s=0.0,
        compute_s=time.compute_s, memory_s=time.memory_s, latency_s=time.latency_s, bound=time.bound, op_class=kind,
        known=time.known or not is_work(signature), delay_s=machine.launch_latency_s if on_device else 0.0,
    )  # fmt: skip


def _time(signature: Signature, machine: Machine, phase: Phase) -> OpTime:
    """Return the time of an operation; one that is known by its traffic only takes the time of that."""
    has_tensors = bool(signature.inputs or signature.outputs)
    if signature.name not in _JOINED and (has_tensors or not signature.moved_bytes):
        try:
            return op_time(signature, machine=machine, phase=phase)
        except (ArithmeticError, IndexError, ValueError):  # shapes that no kernel of that name takes
            return _by_traffic(signature, machine, phase)._replace(known=False)
    return _by_traffic(signature, machine, phase)


def _by_traffic(signature: Signature, machine: Machine, phase: Phase) -> OpTime:
    share = _JOINED.get(signature.name, ("", _SHARE))[1]
    memory_s = signature.moved_bytes / (machine.memory_gb_per_s * 1e9 * share)
    latency_s = machine.launch_latency_s
    issued = op_time(_ISSUED, machine=machine, phase=phase)
    bound: Bound = "latency" if latency_s > memory_s else "memory"
    return OpTime(0.0, memory_s, latency_s, issued.host_s, bound, known=True)


_ISSUED = Signature("fill_", (), (), 0, 0, 0, 0)  # for what the host spends on any operation


# Memory of a server CPU is about a tenth as fast as that of a GPU: what is left of an operation that the host does
# itself. Tapes of a GPU hold only small ones (indices, scalars).
_HOST_SLOWER = 10.0
_PAGEABLE_SHARE = 0.4  # of the host link for memory that is not pinned: CUDA copies it into a pinned buffer first


def runs_on(signature: Signature, device: str) -> bool:
    """Whether the operation runs on ``device``: it has a tensor there (an operation without tensors does, too)."""
    tensors = (*signature.inputs, *signature.outputs)
    return not tensors or any(meta.device == device for meta in tensors)


def is_work(signature: Signature) -> bool:
    """Whether there is something to do: views and empty tensors move and compute nothing."""
    return bool(signature.moved_bytes or signature.flops or signature.pointwise_flops)


def _host_copy_s(signature: Signature, device: str, machine: Machine) -> float | None:
    """Return the time of a copy between host and device over the link between them; None for anything else."""
    tensors = (*signature.inputs, *signature.outputs)
    places = {meta.device.split(":")[0] for meta in tensors}
    if machine.gpu is None or len(places) < 2 or "cpu" not in places or not device.startswith("cuda"):
        return None
    if op_class(signature.name) != "copy" or machine.gpu.host_link is None:
        return None
    half = signature.moved_bytes / 2  # read on one side, written on the other
    return machine.launch_latency_s + half / (machine.gpu.host_link.gb_per_s_per_direction * _PAGEABLE_SHARE * 1e9)


def unknown_ops(tape: Tape, costs: Sequence[Cost], step: int) -> dict[str, int]:
    """Name the operations without a FLOP formula that do some work, with how often each runs in a step."""
    found: dict[str, int] = {}
    for row, count in tape.row_counts(step).items():
        if not costs[row].known:
            name = tape.signatures[tape.rows[row].signature].name
            found[name] = found.get(name, 0) + count
    return found
