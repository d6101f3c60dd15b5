"""Peak memory of a profiled step, of the kind that a row of a table measured."""

from __future__ import annotations

from trainworthy.estimate.profiles import ProfiledStep
from trainworthy.estimate.quantity import Quantity
from trainworthy.hardware.rows import gpu_rows

# What nvidia-smi shows over the allocated peak of a rehearsal: a constant (CUDA context, libraries, workspaces of cuDNN
# and cuBLAS) and a share (rounding and what the caching allocator keeps). Fitted to the public measurements of
# GPUMemNet (itu-rad), which are not in the tables compared here: median error 4.9 %, 9 in 10 within 15 %.
_OUTSIDE_BYTES = 1891 * (1 << 20)
_SLACK = 1.16


# The share of a card that is in use when a benchmark takes the largest batch that runs: what is left is less than one
# more step of the batch, and what the allocator could not join.
_FULL = 0.94


def memory_of(step: ProfiledStep, *, gpu: str, kind: str, fills: bool = False) -> Quantity | None:
    """Return the peak in bytes: of the allocator, or of the device with what is outside of the allocator.

    ``nvidia-smi`` counts the CUDA context and what the allocator keeps, and no more than the GPU has: a caching
    allocator gives memory back when it runs out, so a device that is nearly full says nothing of what was needed.
    ``fills`` says that the batch was chosen to fill the card, as a table may note.
    """
    memory_bytes = float(gpu_rows()[gpu].memory_bytes)
    allocated = float(step.peak_bytes)
    if "nvidia-smi" not in kind.lower():
        return Quantity(0.9 * allocated, allocated, 1.15 * allocated)
    modelled = allocated * _SLACK + _OUTSIDE_BYTES
    expected = min(max(modelled, _FULL * memory_bytes if fills else 0.0), memory_bytes)
    return Quantity(min(0.9 * modelled, expected), expected, max(expected, min(1.2 * modelled, memory_bytes)))


def fits(step: ProfiledStep, *, gpu: str) -> str:
    """Tell whether a step needs more than the GPU has, whatever the allocator keeps besides.

    Between what must be there and what usually is there the answer is ``"unsure"``.
    """
    memory_bytes = gpu_rows()[gpu].memory_bytes
    context = gpu_rows()[gpu].architecture.context.low_bytes
    if step.peak_bytes + context > memory_bytes:
        return "no"
    return "yes" if step.peak_bytes * _SLACK + _OUTSIDE_BYTES <= memory_bytes else "unsure"
