"""A test of the machine: do numbers arrive that are copied from one device to another?

Between some pairs of GPUs (bad peer-to-peer settings, IOMMU, drivers) copies lose data and nothing is said. One pattern
is copied each way between every two GPUs that the process uses, and compared on the CPU.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

import torch

from trainworthy.check.finding import Place
from trainworthy.check.live.facts_setup import CopyFault

Copy = Callable[[torch.Tensor, torch.device], torch.Tensor]
_NUMBERS = 1 << 16
_MAX_DEVICES = 8


def used_devices(parameters: Sequence[torch.Tensor]) -> list[torch.device]:
    """Return the GPUs that parameters lie on, and those that the process has touched."""
    devices = {p.device for p in parameters if p.device.type == "cuda"}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        for i in range(min(torch.cuda.device_count(), _MAX_DEVICES)):
            if torch.cuda.memory_allocated(i):
                devices.add(torch.device("cuda", i))
    return sorted(devices, key=lambda d: (d.type, d.index or 0))[:_MAX_DEVICES]


def copy_faults(devices: Sequence[torch.device], place: Place, copy: Copy = torch.Tensor.to) -> list[CopyFault]:
    """Copy a pattern between every two devices; return the pairs of which one lost something.

    Args:
        devices: At least two, else there is nothing to test.
        place: Where the findings are to be shown.
        copy: What copies; replaced to simulate a machine that is broken.
    """
    pattern = torch.arange(1, _NUMBERS + 1, dtype=torch.int32)
    faults = []
    for source in devices:
        for target in devices:
            if source == target:
                continue
            with contextlib.suppress(RuntimeError):  # no memory, no access: another rule's business
                arrived = copy(pattern.to(source), target).cpu()
                wrong = int((arrived != pattern).sum())
                if wrong:
                    faults.append(CopyFault(
                        place=place, source=str(source), target=str(target), wrong=wrong, total=_NUMBERS,
                    ))  # fmt: skip
    return faults
