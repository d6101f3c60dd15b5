"""Spectral norms that evaluate before they ever estimated the norm.

``torch.nn.utils.spectral_norm`` begins with random vectors and improves them in training mode only. Used in evaluation
before, it divides by a random number.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.utils.spectral_norm import SpectralNorm

from trainworthy.check.live.facts_setup import UnreadySpectralNorm
from trainworthy.check.live.watch import Watch, plain

_READY = 0.5  # the cosine after one step is exactly 1, and stays near it; that of random vectors is near 0


class SpectralWatch:
    """Looks at the first calls in evaluation; needs no seam of its own."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self._looked: set[int] = set()

    def module_called(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Look at the norms of a model in evaluation mode."""
        if module.training or id(module) in self._looked:
            return
        self._looked.add(id(module))
        with self.watch.own_work():
            found = [
                (each, alignment)
                for each in module.modules() if not each.training
                for hook in each._forward_pre_hooks.values() if isinstance(hook, SpectralNorm)
                if (alignment := _alignment(each, hook)) is not None and abs(alignment) < _READY
            ]  # fmt: skip
        if found:
            self.watch.facts.spectral_norms.append(UnreadySpectralNorm(
                place=self.watch.facts.forwards[-1].place, names=tuple(self.watch.names.module(m) for m, _ in found),
                alignment=max(abs(a) for _, a in found),
            ))  # fmt: skip


def _alignment(module: nn.Module, hook: Any) -> float | None:
    """Return the cosine between a norm's left vector and the weight times its right vector."""
    weight = getattr(module, f"{hook.name}_orig")
    left, right = getattr(module, f"{hook.name}_u"), getattr(module, f"{hook.name}_v")
    if not (plain(weight) and plain(left) and plain(right)) or left.numel() < 4:
        return None
    image = hook.reshape_weight_to_matrix(weight.detach()) @ right
    return float(torch.nn.functional.cosine_similarity(image, left, dim=0))
