"""Kernels of a GPU from its row: tiles and waves for matrix products, bandwidth by class for the rest."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, NamedTuple

from trainworthy.estimate import gpu_defaults
from trainworthy.estimate.op_classes import base_name, op_class
from trainworthy.formulas.gemm import best_tile

if TYPE_CHECKING:
    from trainworthy.estimate.machine import Machine
    from trainworthy.tape.record import Signature, TensorMeta


class GemmShape(NamedTuple):
    """A batch of products (m, k) @ (k, n)."""

    batch: int
    m: int
    n: int
    k: int


def gpu_kernel_times(signature: Signature, *, machine: Machine) -> tuple[float, float, float]:
    """Return seconds of arithmetic, of memory traffic, and the fixed part."""
    kind = op_class(signature.name)
    latency_s = machine.launch_latency_s
    bandwidth = machine.memory_gb_per_s * 1e9 * gpu_defaults.BANDWIDTH_SHARE.get(kind, 0.85)
    memory_s = signature.moved_bytes / bandwidth
    gpu = machine.gpu
    if gpu is not None and gpu.l2_bytes and signature.moved_bytes < 0.5 * gpu.l2_bytes:
        memory_s /= gpu_defaults.L2_BANDWIDTH_FACTOR  # what the kernel before wrote is still there
    return _compute_s(signature, kind, machine), memory_s, latency_s


def _compute_s(signature: Signature, kind: str, machine: Machine) -> float:
    if not signature.flops:
        return _vector_s(signature, machine)
    dtype = next((m.dtype for m in signature.inputs if m.shape), "float32")
    unit = machine.unit(dtype, conv=kind.startswith("conv"))
    rate = machine.achievable_tflops(unit) or machine.achievable_tflops("fp32") or 1.0
    if machine.gpu is None:
        return signature.flops / (rate * 1e12)
    share = gpu_defaults.kernel_share(machine.gpu, kind)
    shape = gemm_shape(signature)
    if shape is not None:
        share *= _quantisation(shape, machine.gpu.sm_count) * _alignment(shape, dtype, unit)
    return signature.flops / (rate * 1e12 * share)


def _vector_s(signature: Signature, machine: Machine) -> float:
    """Return the time of elementwise arithmetic in float32 units; it hides behind memory on every GPU."""
    rate = machine.achievable_tflops("fp32") or 1.0
    return signature.pointwise_flops / (rate * 1e12 * 0.25)


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


def _quantisation(shape: GemmShape, sm_count: int) -> float:
    """Share of useful work in tiles and waves, and of the main loop in the time of a tile."""
    count = best_tile(m=shape.m, n=shape.n, sm_count=sm_count, batch=shape.batch)[1]
    efficiency = count.efficiency
    if count.waves == 1 and count.tiles < sm_count and shape.k >= 512:
        # Split-k fills SMs that have no tile of their own, at the price of a reduction.
        splits = min(sm_count // count.tiles, shape.k // 256)
        efficiency = min(1.0, efficiency * max(splits, 1) * 0.8) if splits > 1 else efficiency
    # Filling the pipeline and writing the tile take about as long as 64 steps along k of the main loop.
    return efficiency * shape.k / (shape.k + 64)


def _alignment(shape: GemmShape, dtype: str, unit: str) -> float:
    """Tensor cores want dimensions that are multiples of 16 bytes; others take slower kernels.

    Source: NVIDIA, "Matrix multiplication background user's guide", figure 2: about half the rate if unaligned.
    """
    if unit in {"fp32", "fp64"}:
        return 1.0
    size = {"float32": 4, "int8": 1}.get(dtype, 1 if dtype.startswith("float8") else 2)
    worst = min(_power_of_two(d) * size for d in (shape.n, shape.k))
    return 1.0 if worst >= 16 else 0.8 if worst >= 8 else 0.5


def _power_of_two(number: int) -> int:
    return number & -number


def tensor_bytes(meta: TensorMeta, element_bytes: int) -> int:
    """Return the bytes of a dense tensor."""
    return prod(meta.shape) * element_bytes
