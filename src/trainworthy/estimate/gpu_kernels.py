"""Kernels of a GPU from its row: tiles and waves for products, passes over memory for the rest, shares by kind."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, NamedTuple

from trainworthy.estimate import gpu_defaults
from trainworthy.estimate.kernel_rates import DEFAULT_RATES, KernelRates, work_seconds
from trainworthy.estimate.kernel_work import KernelWork, kernel_work
from trainworthy.estimate.op_classes import base_name, op_class

if TYPE_CHECKING:
    from trainworthy.estimate.machine import Machine
    from trainworthy.tape.record import Signature, TensorMeta

_DEFAULT_SM_COUNT = 108  # of a machine without a row: an A100's


class GemmShape(NamedTuple):
    """A batch of products (m, k) @ (k, n)."""

    batch: int
    m: int
    n: int
    k: int


def gpu_kernel_times(
    signature: Signature, *, machine: Machine, training: bool = True, rates: KernelRates = DEFAULT_RATES
) -> tuple[float, float, float]:
    """Return seconds of arithmetic, of memory traffic, and the fixed part; the device is busy for max + fixed part.

    ``training`` is false for a step without a backward pass: batch norms then read their running statistics.
    """
    sm_count = machine.gpu.sm_count if machine.gpu is not None else _DEFAULT_SM_COUNT
    compute_s = memory_s = busy_s = launches = 0.0
    for work in kernel_work(signature, sm_count=sm_count, training=training):
        c, m = work_times(work, machine=machine, rates=rates)
        compute_s, memory_s, busy_s = compute_s + c, memory_s + m, busy_s + max(c, m)
        launches += work.launches
    if compute_s >= memory_s:  # of an operation with several kernels the sum of their longer sides counts
        return busy_s, memory_s, launches * machine.launch_latency_s
    return compute_s, busy_s, launches * machine.launch_latency_s


def work_times(work: KernelWork, *, machine: Machine, rates: KernelRates) -> tuple[float, float]:
    """Return seconds of arithmetic and of memory traffic of one kind of kernel."""
    vector = (machine.gpu and machine.gpu.peak_tflops("fp32")) or machine.achievable_tflops("fp32") or 1.0
    if work.dtype in ("float64", "complex128"):
        vector = min(vector, (machine.gpu and machine.gpu.peak_tflops("fp64")) or vector / 32)
    unit = machine.unit(work.dtype, conv=work.kind.startswith(("conv", "grouped", "rnn")))
    product = machine.achievable_tflops(unit) or vector
    if work.unit == "matrix":
        turned = work.turned_bytes if unit not in ("fp32", "fp64") else 0.0
        saving = work.saving if unit == "fp32" else 1.0
        work = work._replace(bytes=work.bytes + turned, flops=work.flops / saving)
    if work.kind == "gemm_misaligned":
        work = work._replace(flops=work.flops * gpu_defaults.misaligned_factor(machine.gpu))
    bandwidth = machine.memory_gb_per_s * 1e9
    l2_bytes = machine.gpu.l2_bytes if machine.gpu is not None else None
    if l2_bytes and work.bytes < 0.5 * l2_bytes * work.launches:
        bandwidth *= gpu_defaults.L2_BANDWIDTH_FACTOR  # what the kernel before wrote is still there
    return work_seconds(
        work, product_flops_per_s=product * 1e12, vector_flops_per_s=vector * 1e12, bytes_per_s=bandwidth, rates=rates
    )


def gemm_shape(signature: Signature) -> GemmShape | None:
    """Return the product that an operation is, or that a convolution is an implicit form of; None for others."""
    kind = op_class(signature.name)
    if kind == "gemm":
        return _matrix_shape(signature)
    if kind == "conv_forward" and len(signature.inputs) >= 2 and signature.outputs:
        weight, out = signature.inputs[1].shape, signature.outputs[0].shape
        if len(weight) >= 3 and len(out) == len(weight):
            groups = max(signature.inputs[0].shape[1] // max(weight[1], 1), 1)
            return GemmShape(groups, out[0] * prod(out[2:]), max(weight[0] // groups, 1), prod(weight[1:]))
    return None


def _matrix_shape(signature: Signature) -> GemmShape | None:
    matrices = [m for m in signature.inputs if len(m.shape) >= 2]
    if base_name(signature.name).startswith(("addmm", "baddbmm", "_addmm")) and len(signature.inputs) >= 3:
        matrices = list(signature.inputs[1:3])
    if len(matrices) < 2:
        return None
    a, b = matrices[0].shape, matrices[1].shape
    if min(*a, *b) < 1:
        return None
    return GemmShape(prod(a[:-2]) if len(a) > 2 else 1, a[-2], b[-1], a[-1])


def tensor_bytes(meta: TensorMeta, element_bytes: int) -> int:
    """Return the bytes of a dense tensor."""
    return prod(meta.shape) * element_bytes
