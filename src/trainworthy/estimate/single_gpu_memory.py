"""Peak memory of a profiled step, of the kind that a row of a table measured."""

from __future__ import annotations

from trainworthy.estimate.profile_memory import RecordedMemory
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
# A context of CUDA before 11.7, which loads every kernel of its libraries at once: V100 and A100 40 GB as BigScience's
# notes have them (chronicles of the 104B and 176B models). GPUs of the same compute capability or older take V100's.
_EAGER_CONTEXT_BYTES = {7: 1113 * (1 << 20), 8: 1573 * (1 << 20)}


def eager_context_bytes(gpu: str) -> int:
    """Return what a context takes on a GPU where kernels are not loaded lazily.

    >>> eager_context_bytes("v100-sxm2-32gb") >> 20, eager_context_bytes("a100-sxm-40gb") >> 20
    (1113, 1573)
    """
    return _EAGER_CONTEXT_BYTES[8 if gpu_rows()[gpu].compute_capability >= (8, 0) else 7]


def memory_of(
    step: ProfiledStep, *, gpu: str, kind: str, fills: bool = False, recorded: RecordedMemory | None = None
) -> Quantity | None:
    """Return the peak in bytes: of the allocator, or of the device with what is outside of the allocator.

    ``nvidia-smi`` counts the CUDA context and what the allocator keeps, and no more than the GPU has: a caching
    allocator gives memory back when it runs out, so a device that is nearly full says nothing of what was needed.
    ``fills`` says that the batch was chosen to fill the card, as a table may note. ``recorded`` is what the allocator
    reserved in a rehearsal of the row's own program, with the software of its time.
    """
    memory_bytes = float(gpu_rows()[gpu].memory_bytes)
    allocated = float(recorded.allocated_bytes if recorded else step.peak_bytes)
    if "nvidia-smi" not in kind.lower():
        return Quantity(0.9 * allocated, allocated, 1.15 * allocated)
    if recorded:
        modelled = float(recorded.reserved_bytes + eager_context_bytes(gpu))
    else:
        modelled = allocated * _SLACK + _OUTSIDE_BYTES
    expected = min(max(modelled, _FULL * memory_bytes if fills else 0.0), memory_bytes)
    return Quantity(min(0.9 * modelled, expected), expected, max(expected, min(1.2 * modelled, memory_bytes)))


def fits(step: ProfiledStep, *, gpu: str, recorded: RecordedMemory | None = None) -> str:
    """Tell whether a step needs more than the GPU has, whatever the allocator keeps besides.

    Between what must be there and what usually is there the answer is ``"unsure"``.
    """
    memory_bytes = gpu_rows()[gpu].memory_bytes
    least = (recorded.allocated_bytes if recorded else step.peak_bytes) + gpu_rows()[gpu].architecture.context.low_bytes
    if least > memory_bytes:
        return "no"
    usual = recorded.reserved_bytes + eager_context_bytes(gpu) if recorded else None
    return "yes" if (usual or step.peak_bytes * _SLACK + _OUTSIDE_BYTES) <= memory_bytes else "unsure"
