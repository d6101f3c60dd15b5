"""Gradient clipping and loss scaling: which came first."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.amp.grad_scaler import GradScaler
from torch.nn.utils import clip_grad

from trainworthy.check.live.facts_steps import Clip
from trainworthy.check.live.gradients import Gradients
from trainworthy.check.live.operators import OperatorWatch
from trainworthy.check.live.watch import Watch

# clip_grad_norm_ and clip_grad_value_ look these up when they run, however the user imported them.
_SEAMS = {"_clip_grads_with_norm_": "clip_grad_norm_", "_group_tensors_by_device_and_dtype": "clip_grad_value_"}


class ClipWatch:
    """Notices calls of ``clip_grad_norm_`` and ``clip_grad_value_``, ``scaler.scale`` and ``scaler.unscale_``."""

    compiled_code_sees_it = False

    def __init__(self, watch: Watch, gradients: Gradients, operators: OperatorWatch) -> None:
        self.watch = watch
        self.gradients = gradients
        self.operators = operators
        self.scaled = False  # a scaled loss went backward, and nobody has unscaled its gradients
        self.scale: float | None = None
        self.skipped = False

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Replace the functions while the context is open."""
        before = {name: getattr(clip_grad, name) for name in _SEAMS if hasattr(clip_grad, name)}
        scale, unscale, step = GradScaler.scale, GradScaler.unscale_, GradScaler.step
        for name, function in before.items():
            setattr(clip_grad, name, self._noticing(function, name))
        watch = self

        def scaled(scaler: GradScaler, outputs: Any) -> Any:
            if scaler.is_enabled():
                watch.scaled = watch.watch.facts.scaler_used = True
            return scale(scaler, outputs)

        def unscaled(scaler: GradScaler, optimizer: Any) -> None:
            with watch.operators.set_aside():
                unscale(scaler, optimizer)
            watch.scaled = False

        def stepped(scaler: GradScaler, *args: Any, **kwargs: Any) -> Any:
            number = watch.watch.step
            out = step(scaler, *args, **kwargs)
            watch.scaled = False
            watch.skipped = watch.watch.looking and watch.watch.step == number
            return out

        seams: Any = GradScaler
        seams.scale, seams.unscale_, seams.step = scaled, unscaled, stepped
        try:
            yield
        finally:
            for name, function in before.items():
                setattr(clip_grad, name, function)
            seams.scale, seams.unscale_, seams.step = scale, unscale, step

    def _noticing(self, function: Any, name: str) -> Any:
        def noticed(first: Any, *args: Any, **kwargs: Any) -> Any:
            watch = self.watch
            helps_norm = name == "_group_tensors_by_device_and_dtype" and not _called_by("clip_grad_value_")
            measures = name == "_clip_grads_with_norm_" and args and _is_infinite(args[0])
            if watch.looking and not watch.busy and not helps_norm and not measures:
                watch.rely_on("clipping", self._note, first, name)
            return function(first, *args, **kwargs)

        return noticed

    def _note(self, first: Any, name: str) -> None:
        if name == "_clip_grads_with_norm_":
            parameters = [first] if isinstance(first, torch.Tensor) else list(first)
            gradients = [p.grad for p in parameters if p.grad is not None]
        else:
            gradients = [g for group in first for g in group]
        if name == "_clip_grads_with_norm_" and not parameters:
            self.watch.facts.empty_clips.append(self.watch.place())
        if not gradients:
            return
        self.watch.facts.clips.append(Clip(
            step=self.watch.step, place=self.watch.place(), function=_SEAMS[name],
            after_step=self.gradients.spent(gradients), before_unscale=self.scaled, scale=self.scale,
        ))  # fmt: skip


def _is_infinite(max_norm: Any) -> bool:
    """Tell whether clipping to such a norm only measures it."""
    return isinstance(max_norm, (int, float)) and math.isinf(max_norm)


def _called_by(function: str) -> bool:
    return sys._getframe(2).f_code.co_name == function
