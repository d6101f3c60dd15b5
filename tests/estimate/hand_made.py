"""Machines and tapes for tests of the estimate; nothing here needs torch."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from report.tape_builder import TapeBuilder
from trainworthy.estimate.machine import Machine, gpu_machine
from trainworthy.hardware import gpu_row
from trainworthy.tape.record import ParameterGroup, Tape, TensorMeta

H100 = gpu_machine("h100-sxm-80gb")


def faster_memory(factor: float) -> Machine:
    row = gpu_row("h100-sxm-80gb")
    return gpu_machine(replace(row, memory_gb_per_s=row.memory_gb_per_s * factor))


def faster_products(factor: float) -> Machine:
    row = gpu_row("h100-sxm-80gb")
    return gpu_machine(replace(row, peaks_tflops={name: peak * factor for name, peak in row.peaks_tflops.items()}))


def with_shapes(tape: Tape, shapes: dict[str, tuple[tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...]]]) -> Tape:
    """Give the operations called so other shapes of inputs and outputs; strides are dense."""
    signatures = []
    for signature in tape.signatures:
        if signature.name in shapes:
            ins, outs = shapes[signature.name]
            signature = signature._replace(  # noqa: PLW2901
                inputs=tuple(dense(s, m.dtype, m.device) for s, m in zip(ins, signature.inputs, strict=True)),
                outputs=tuple(dense(s, m.dtype, m.device) for s, m in zip(outs, signature.outputs, strict=True)),
            )
        signatures.append(signature)
    return replace(tape, signatures=tuple(signatures))


def dense(shape: tuple[int, ...], dtype: str = "float32", device: str = "cuda:0") -> TensorMeta:
    stride, strides = 1, []
    for size in reversed(shape):
        strides.append(stride)
        stride *= size
    return TensorMeta(shape, tuple(reversed(strides)), dtype, device)


def chain(*, layers: int = 3, elements: int = 1 << 20) -> Tape:
    """One step: in every layer a product, then add, gelu and mul on its result; each reads what came before."""
    tape = TapeBuilder()
    size = 4 * elements
    shape = (1024, elements // 1024)
    op = partial(tape.op, module="layers.{}", shape_in=shape, shape_out=shape, pointwise_flops=elements)
    (x,) = tape.op("copy_", phase="data", births=(("input", size),), shape_out=shape, moved_bytes=0)
    for n in range(layers):
        (y,) = op("mm", reads=(x, x), flops=10**9, moved_bytes=3 * size, births=(("temporary", size),),
                  deaths=(x,), line=1, numbers=(n,))  # fmt: skip
        (a,) = op("add.Tensor", reads=(y,), moved_bytes=2 * size, births=(("temporary", size),), line=2,
                  deaths=(y,), numbers=(n,))  # fmt: skip
        (g,) = op("gelu", reads=(a,), moved_bytes=2 * size, births=(("activation", size),), line=3, numbers=(n,))
        (x,) = op("mul.Tensor", reads=(a, g), moved_bytes=3 * size, births=(("temporary", size),), deaths=(a,),
                  line=4, numbers=(n,))  # fmt: skip
    groups = (ParameterGroup(optimizer="AdamW", dtype="float32", device="cuda:0", layout="contiguous", tensors=layers,
                             elements=elements),)  # fmt: skip
    tape.op("_foreach_add_.List", phase="optimizer", reads=(x,), moved_bytes=30 * size, line=9,
            shape_in=(1024, 30 * elements // 1024))  # fmt: skip
    return tape.build(parameter_groups=groups, gpu="h100-sxm-80gb", script="train.py")
