"""The finite guard of a device that works behind the host: the device refuses a bad step itself, the host hears later.

To decide on the host whether the optimizer may step, the host has to wait until the device has the gradients; then the
device waits until the host has queued the next kernels: 3 % of a step of GPT-2 124M on an H200. torch's fused
optimizers take a flag on the device instead, ``found_inf``, meant for gradient scalers: where it is 1, no weight and no
state changes. So the flag is computed on the device, and the numbers behind it are read when the next step is queued.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from trainworthy.train.finite import NotFiniteError

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

    from trainworthy.train.phase import Work


def can_refuse(optimizer: Optimizer) -> bool:
    """Say whether an optimizer takes ``found_inf``: its fused kernels do, with all groups fused."""
    fused = all(group.get("fused") for group in optimizer.param_groups)
    return fused and bool(getattr(optimizer, "_step_supports_amp_scaling", False))


@dataclass(slots=True)
class _Noted:
    """A step that the host has not judged yet."""

    work: Work
    numbers: Tensor  # loss and norm on the host, once ``arrived`` has happened
    arrived: Any


class Behind:
    """Judges each step when the one after it is queued; :meth:`settle` judges what is left."""

    def __init__(self, optimizer: Optimizer, device: torch.device) -> None:
        self._optimizer = optimizer
        self._cuda = device.type == "cuda"
        self._free = torch.empty(2, dtype=torch.float64, pin_memory=self._cuda)
        self._noted: _Noted | None = None

    def note(self, work: Work, loss: Tensor, norm: Tensor) -> None:
        """Have the optimizer's next step refused on the device if a number is not finite; judge it later.

        The numbers of the step before must have been judged: there is one place for them.
        """
        assert self._noted is None
        numbers = torch.stack([loss.detach().double(), norm.double()])
        refused = torch.isfinite(numbers).all().logical_not().float()
        optimizer: Any = self._optimizer
        optimizer.grad_scale, optimizer.found_inf = None, refused
        self._free.copy_(numbers, non_blocking=True)
        arrived = None
        if self._cuda:
            arrived = torch.cuda.Event()
            arrived.record()
        self._noted = _Noted(work, self._free, arrived)

    def settle(self) -> None:
        """Wait for the numbers of the last step noted, and judge it.

        Raises:
            NotFiniteError: A number was not finite, and the weights are as they were before that step.
        """
        noted, self._noted = self._noted, None
        if noted is None:
            return
        if noted.arrived is not None:
            noted.arrived.synchronize()
        loss, norm = noted.numbers.tolist()
        if not math.isfinite(loss) or not math.isfinite(norm):
            raise NotFiniteError(loss, norm, noted.work)

    def close(self) -> None:
        """Leave the optimizer as it was."""
        for name in ("grad_scale", "found_inf"):
            if hasattr(self._optimizer, name):
                delattr(self._optimizer, name)
