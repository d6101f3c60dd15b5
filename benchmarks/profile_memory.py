"""Peaks of the programs of ``memory_programs.py``: what tensors take, and what the allocator reserves for it."""

from __future__ import annotations

from benchmarks.memory_programs import PROGRAMS

_GPU = "v100-sxm2-32gb"  # the generation decides only which workspaces convolutions take


def recorded_peaks(name: str, *, mixed: bool, batches: tuple[int, ...] | None = None) -> list[list[int]]:
    """Rehearse a program at each batch and return ``[batch, allocated bytes, reserved bytes]``."""
    program = PROGRAMS[name]
    return [[batch, *peaks(name, batch, mixed=mixed)] for batch in batches or program.batches]


def peaks(name: str, batch: int, *, mixed: bool) -> tuple[int, int]:
    """Rehearse a program on the virtual GPU and replay its requests through the allocator."""
    from trainworthy.hardware import gpu_row
    from trainworthy.inspect.replay import replay
    from trainworthy.virtual.gpu import VirtualGpu

    program = PROGRAMS[name]
    with VirtualGpu(gpu_row(_GPU)) as gpu:
        gpu.recorder.steps.begin()
        program.run(batch, program.mixed if mixed else "fp32")
        gpu.recorder.steps.finish()
        tape = gpu.tape(script=program.source, steps=1)
    found = replay(tape)
    return found.peak_allocated_bytes, found.peak_reserved_bytes
