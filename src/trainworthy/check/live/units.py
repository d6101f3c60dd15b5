"""Units whose activation is 0 for every sample, step after step."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from trainworthy.check.live.facts_setup import DeadUnits
from trainworthy.check.live.watch import Watch, plain, read

ONE_SIDED = frozenset(("relu", "relu_", "relu6", "threshold", "threshold_"))
_STEPS = 8
_MIN_UNITS, _MIN_SAMPLES = 8, 64


@dataclass(slots=True)
class _Layer:
    op: str
    module: str
    source: int
    alive: torch.Tensor
    samples: int
    steps: set[int]
    is_done: bool = False


class UnitWatch:
    """Remembers, for each layer, which units were ever above 0; stops looking once most were."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self._layers: dict[tuple[int, int], _Layer] = {}

    def activated(self, op: str, module: nn.Module | None, out: torch.Tensor, source: int) -> None:
        """Look at the result of an activation, (samples, units, ...) or (samples, time, units)."""
        if self.watch.step >= _STEPS or module is None or out.dim() < 2 or not plain(out) or out.dtype is torch.bool:
            return
        layer = self._layers.get((id(module), source))
        if layer is not None and layer.is_done:
            return
        units = 1 if out.dim() >= 4 else out.dim() - 1
        alive = (out.detach() > 0).any(dim=tuple(d for d in range(out.dim()) if d != units)) if out.dim() > 1 else out
        if layer is None or layer.alive.shape != alive.shape:
            name = self.watch.names.module(module)
            layer = self._layers[id(module), source] = _Layer(op.rstrip("_"), name, source, alive, 0, set())
        layer.alive = layer.alive | alive
        layer.samples += out.shape[0]
        layer.steps.add(self.watch.step)

    def step_ends(self) -> None:
        """Stop following layers that are alive."""
        open_ = [layer for layer in self._layers.values() if not layer.is_done]
        if self.watch.step >= _STEPS or not open_:
            return
        for layer, alive in zip(open_, read([layer.alive.sum() for layer in open_]), strict=True):
            layer.is_done = alive > 0.1 * layer.alive.numel()

    def finish(self) -> None:
        """Write down the layers in which at most a tenth of the units ever gave anything."""
        for layer in self._layers.values():
            units = layer.alive.numel()
            if layer.is_done or units < _MIN_UNITS or layer.samples < _MIN_SAMPLES or len(layer.steps) < 5:
                continue
            dead = units - int(layer.alive.sum())
            if dead >= 0.9 * units:
                self.watch.facts.dead_units.append(DeadUnits(
                    place=self.watch.place_of(layer.source), module=layer.module, op=layer.op, dead=dead, units=units,
                    samples=layer.samples, steps=len(layer.steps),
                ))  # fmt: skip
        self._layers.clear()
