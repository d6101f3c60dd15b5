"""An exponential moving average of the weights, and evaluating with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor, nn


class Average:
    """``average = decay * average + (1 - decay) * weights`` after each step, starting from the initial weights.

    Buffers (the running statistics of BatchNorm) are not averaged: an evaluation uses those of the model.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.parameters = [(name, each) for name, each in model.named_parameters() if each.is_floating_point()]
        self.averages = {name: each.detach().clone() for name, each in self.parameters}
        self._own = [_local(each) for each in self.averages.values()]
        self._live = [_local(each.detach()) for _, each in self.parameters]

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights of this step in."""
        torch._foreach_lerp_(self._own, self._live, 1 - self.decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the average in the place of the weights for the length of a block; they come back bit by bit."""
        with torch.no_grad():
            kept = [each.clone() for each in self._live]
            torch._foreach_copy_(self._live, self._own)
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(self._live, kept)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the averages by the names of their parameters."""
        return self.averages

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from the averages of another run."""
        for name, each in self.averages.items():
            if state[name] is not each:
                each.copy_(state[name])


def _local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor
