"""In which numbers a step computes: autocast, the gradient scaler, and TF32."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch

from trainworthy.errors import UsageError

Name = Literal["fp32", "tf32", "bf16", "fp16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """What a precision means on a device.

    Attributes:
        name: As in ``TrainOptions.precision``.
        device: Where the model is.
        autocast: The type that autocast computes in; None: no autocast.
        scaled: Whether gradients need a scaler (``fp16``: the smallest normal number is 6.1e-5).
    """

    name: Name
    device: torch.device
    autocast: torch.dtype | None
    scaled: bool

    def context(self) -> AbstractContextManager[Any]:
        """Return the context of a forward pass; the same object may be entered again and again."""
        if self.autocast is None:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.autocast)

    def scaler(self) -> LossScale | None:
        """Return a new scale of the loss, one for each optimizer; None where none is needed."""
        return LossScale() if self.scaled else None


class LossScale:
    """The factor on the loss that keeps gradients of fp16 from vanishing; the rule and constants of GradScaler.

    torch's own scaler looks at every gradient, and with shards each rank at its own. Here the norm of all gradients,
    which a step knows anyway, is the witness, so all ranks decide alike; and undoing the scale is one factor with that
    of clipping.

    Source: torch.amp.GradScaler (torch 2.13): 2^16 at first; halved by an overflow; doubled after 2000 good steps.
    """

    def __init__(self, *, interval: int = 2000) -> None:
        self.value = 65536.0
        self.interval = interval
        self.good_steps = 0
        self.skipped_steps = 0
        self.skipped_in_a_row = 0

    def overflowed(self) -> None:
        """Say that the gradients of this step were not finite and that it is skipped."""
        self.value, self.good_steps = self.value / 2, 0
        self.skipped_steps += 1
        self.skipped_in_a_row += 1

    def succeeded(self) -> None:
        """Say that the gradients of this step were finite."""
        self.skipped_in_a_row = 0
        self.good_steps += 1
        if self.good_steps == self.interval:
            self.value, self.good_steps = self.value * 2, 0

    def state_dict(self) -> dict[str, float]:
        """Return what a resumed run needs."""
        return {
            "value": self.value,
            "good_steps": self.good_steps,
            "skipped_steps": self.skipped_steps,
            "skipped_in_a_row": self.skipped_in_a_row,
        }

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Take up where another left off."""
        self.value = state["value"]
        self.good_steps = int(state["good_steps"])
        self.skipped_steps = int(state["skipped_steps"])
        self.skipped_in_a_row = int(state["skipped_in_a_row"])


def precision(name: Name, device: torch.device) -> Precision:
    """Return what ``name`` means on ``device``, and allow or forbid TF32 in this process accordingly.

    Raises:
        UsageError: This device does not compute in that type.
    """
    autocast = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(name)
    if autocast is torch.bfloat16 and device.type == "cuda" and not torch.cuda.is_bf16_supported(False):
        raise UsageError(
            f"train.precision is bf16, and {torch.cuda.get_device_name(device)} does not compute in bfloat16.",
            fix="train.precision=fp16 (with a gradient scaler), or fp32.",
        )
    torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = name == "tf32"
    return Precision(name=name, device=device, autocast=autocast, scaled=name == "fp16")
