"""Peak memory of a profiled step, of the kind that a row of a table measured."""

from __future__ import annotations

from trainworthy.estimate.profiles import ProfiledStep
from trainworthy.estimate.quantity import Quantity
from trainworthy.hardware.rows import gpu_rows

# What nvidia-smi shows over the allocated peak of a rehearsal: a constant (CUDA context, libraries, cuDNN's and cuBLAS's
# workspaces) and a share (rounding and what the caching allocator keeps). Fitted to the public measurements of GPUMemNet
# (itu-rad), which are not in the tables compared here: median error 4.9 %, 9 in 10 within 15 %.
_OUTSIDE_BYTES = 1891 * (1 << 20)
_SLACK = 1.16


def memory_of(step: ProfiledStep, *, gpu: str, kind: str) -> Quantity | None:
    """Return the peak in bytes: of the allocator, or of the device with what is outside of the allocator.

    ``nvidia-smi`` counts the CUDA context and what the allocator keeps, and no more than the GPU has: a caching
    allocator gives memory back when it runs out, so a device that is nearly full says nothing of what was needed.
    """
    row = gpu_rows()[gpu]
    allocated = float(step.peak_bytes)
    if "nvidia-smi" not in kind.lower():
        return Quantity(0.9 * allocated, allocated, 1.15 * allocated)
    reserved = allocated * _SLACK + _OUTSIDE_BYTES
    capped = min(reserved, row.memory_bytes)
    return Quantity(min(0.9 * reserved, capped), capped, min(1.2 * reserved, row.memory_bytes))
