"""One phase of a step: the gradients of all micro-batches, clipping, and the optimizer.

The total weight of the step is known before the first forward pass, so each backward pass starts from ``1 / weight``
instead of 1: the gradient is that of the whole batch, however it is split into micro-batches and over ranks.
"""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from trainworthy.errors import TrainError
from trainworthy.train.behind import Behind, can_refuse
from trainworthy.train.clipping import clip_factor, gradient_norm, host_norm, scale_gradients
from trainworthy.train.finite import NotFiniteError
from trainworthy.train.meters import Meters
from trainworthy.train.precision import Precision
from trainworthy.train.recipe import Batch, Loss, Number, Phase
from trainworthy.train.schedules import observing
from trainworthy.train.spread import Spread

if TYPE_CHECKING:
    from torch import Tensor, nn

_MOST_SKIPPED = 30  # steps in a row that fp16 may skip: 2^-30 of the first scale is below any use


class Work(NamedTuple):
    """What a step consists of on this rank.

    Attributes:
        step: Number of the step, from 0.
        batches: Micro-batches, on the device.
        weights: Items that each of them counts; 0: a filler.
        total: Items of the whole step, over all micro-batches and ranks.
        loaded: The micro-batches as they were loaded, for a step that has to be explained.
        indices: The dataset's indices in each of them; empty for a stream.
    """

    step: int
    batches: tuple[Batch, ...]
    weights: list[float]
    total: float
    loaded: Sequence[Batch] = ()
    indices: Sequence[Sequence[int]] = ()


@dataclass(slots=True)
class _Cached:
    """The last start of a backward pass; steps of the same weight use it again."""

    value: float = math.nan
    tensor: Any = None


class PhaseRun:
    """A phase at work.

    Attributes:
        phase: What the recipe says.
        optimizer: Made by the recipe from this phase's parameters.
        schedule: This run's own copy.
        observing: The schedule, if it looks at evaluations; else None.
        scaler: The scale of the loss for fp16; else None.
        meters: Where losses and metrics go.
        prefix: What the names of its metrics begin with.
        learning_rate: Of the first group, as the last step had it.
    """

    def __init__(
        self,
        phase: Phase,
        spread: Spread,
        precision: Precision,
        *,
        prefix: str,
        check_finite: bool,
        meters: Meters,
        steps: int,
    ) -> None:
        self.phase, self.spread, self.meters, self.steps = phase, spread, meters, steps
        self.parameters = _parameters(phase, spread.model)
        self.optimizer = phase.optimizer(list(self.parameters))
        self.schedule = copy.deepcopy(phase.schedule) if observing(phase.schedule) else phase.schedule
        self.observing = observing(self.schedule)
        self.scaler = precision.scaler()
        self.learning_rate = math.nan
        self._loss_name, self._norm_name, self.prefix = f"{prefix}loss", f"{prefix}grad_norm", prefix
        self._trained = [each for _, each in self.parameters]
        owned = {id(each) for each in self._trained}
        self._others = [each for each in spread.model.parameters() if each.requires_grad and id(each) not in owned]
        self._replicas = spread.replicas(self._trained)
        self._context: AbstractContextManager[Any] | None = precision.context() if precision.autocast else None
        self._on_host = precision.device.type == "cpu" and not spread.in_parts
        self._check_finite = check_finite
        self._measured = check_finite or phase.clip_norm is not None or self.scaler is not None
        behind = check_finite and _works_behind(precision, spread) and can_refuse(self.optimizer)
        self._behind = Behind(self.optimizer, precision.device) if behind else None
        self._base_rates = [group["lr"] for group in self.optimizer.param_groups]
        self._unchecked = True
        self._start = _Cached()
        self._whole_norm = spread.pipeline.whole_norm if spread.pipeline else None

    def run(self, work: Work) -> None:
        """Take one step: gradients, clipping, the optimizer.

        Raises:
            NotFiniteError: Before the optimizer's step; with a fused optimizer on a GPU, in the step after.
        """
        for parameter in self._others:
            parameter.requires_grad_(False)
        try:
            loss = self._gradients(work) if self.spread.pipeline is None else self._stage_gradients(work)
        finally:
            for parameter in self._others:
                parameter.requires_grad_(True)
        self.apply(work, loss)

    def apply(self, work: Work, loss: Tensor | float) -> None:
        """Take the gradients that the parameters have to the optimizer, and drop them."""
        gradients = [each.grad for each in self._trained if each.grad is not None]
        self._set_rate(work.step)
        good = True
        if gradients and self._behind is not None:
            self._measure_behind(self._behind, gradients, loss, work)
        elif gradients and self._measured:
            loss, good = self._measure(gradients, loss, work)
        self.meters.add(self._loss_name, loss, sum(work.weights))
        if good:
            self.optimizer.step()
        for parameter in self._trained:
            parameter.grad = None

    def settle(self) -> None:
        """Judge the steps whose numbers the host has not read: before weights, averages or metrics are looked at.

        Raises:
            NotFiniteError: One was not finite.
        """
        if self._behind is not None:
            self._behind.settle()

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs besides the optimizer's state."""
        return {
            "scaler": self.scaler.state_dict() if self.scaler else None,
            "schedule": self.observing.state_dict() if self.observing else None,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where another left off."""
        if self.scaler is not None and state["scaler"] is not None:
            self.scaler.load_state_dict(state["scaler"])
        if self.observing is not None and state["schedule"] is not None:
            self.observing.load_state_dict(state["schedule"])

    def close(self) -> None:
        """Let go of the parameters and the optimizer."""
        if self._replicas is not None:
            self._replicas.close()
        if self._behind is not None:
            self._behind.close()

    def _gradients(self, work: Work) -> Tensor:
        """Run the model forward and backward on each micro-batch; return the sum of the losses of this rank."""
        start, model, function = self.spread.loss_scale / work.total, self.spread.model, self.phase.loss
        if self.scaler is not None:
            start *= self.scaler.value
        last = len(work.batches) - 1
        total: Any = None
        measured: dict[str, list[Any]] = {}
        for place, batch in enumerate(work.batches):
            self.spread.before_backward(last=place == last)
            if self._context is None:
                loss = function(model, batch)
            else:
                with self._context:
                    loss = function(model, batch)
            weight = work.weights[place]
            if self._unchecked:
                self._check(loss, weight, work.step)
            if place == last and self._replicas is not None:
                self._replicas.expect()
            self._backward(loss.total, start if weight else 0.0)
            part = loss.total.detach() if weight else torch.zeros_like(loss.total)
            total = part if total is None else total + part
            if loss.metrics:
                _collect(measured, loss, weight)
        if self._replicas is not None:
            self._replicas.finish()
        for name, (value, weight) in measured.items():
            self.meters.add(self.prefix + name, value, weight)
        return total  # type: ignore[no-any-return]

    def _stage_gradients(self, work: Work) -> float:
        """The same by a pipeline; the last stage tells the others the loss and the metrics."""
        pipeline = self.spread.pipeline
        assert pipeline is not None
        start = (self.scaler.value if self.scaler else 1.0) / work.total
        starts = [start if weight else 0.0 for weight in work.weights]
        losses = pipeline.run(work.batches, self.phase.loss, starts, step=work.step)
        if self._replicas is not None:
            self._replicas.finish()
        total = 0.0
        measured: dict[str, list[Any]] = {}
        for loss, weight in zip(losses, work.weights, strict=pipeline.last):
            if self._unchecked:
                self._check(loss, weight, work.step)
            total += float(loss.total) if weight else 0.0
            _collect(measured, loss, weight)
        numbers = {name: (float(value), float(weight)) for name, (value, weight) in measured.items()}
        total, numbers = pipeline.from_last((total, numbers))
        for name, (value, weight) in numbers.items():
            self.meters.add(self.prefix + name, value, weight)
        return float(total)

    def _backward(self, total: Tensor, start: float) -> None:
        if total.dtype in {torch.float16, torch.bfloat16}:
            total = total.float()
        cached = self._start
        if cached.value != start or cached.tensor.dtype != total.dtype:
            cached.value, cached.tensor = start, torch.full_like(total, start, requires_grad=False)
        total.backward(cached.tensor)

    def _measure_behind(self, behind: Behind, gradients: list[Tensor], loss: Any, work: Work) -> None:
        """Judge the step before, clip this one, and have the device refuse it if a number is not finite."""
        behind.settle()
        norm, limit = self._norm(gradients), self.phase.clip_norm
        if limit is not None:
            scale_gradients(gradients, clip_factor(norm, limit))
        behind.note(work._replace(batches=()), loss, norm)
        self.meters.add(self._norm_name, norm, 1.0)

    def _measure(self, gradients: list[Tensor], loss: Any, work: Work) -> tuple[Any, bool]:
        """Look whether the gradients are finite, undo the scale of fp16, and clip.

        What the host has to know is read in one transfer, the only wait of a step; clipping is then decided by the host
        and costs nothing while the norm is below the limit.

        Returns:
            The loss, as a number if it was read; and whether the optimizer may step.
        """
        limit, scaler = self.phase.clip_norm, self.scaler
        if not self._check_finite and scaler is None:
            norm = self._norm(gradients)
            assert limit is not None
            scale_gradients(gradients, clip_factor(norm, limit))
            self.meters.add(self._norm_name, norm, 1.0)
            return loss, True
        if self._on_host:
            loss, length = float(loss), host_norm(gradients)
        else:
            loss, length = self._read(loss, self._norm(gradients))
        factor = 1.0
        if scaler is not None:
            factor = 1 / scaler.value
            length *= factor
        if not math.isfinite(length) or not math.isfinite(loss):
            return loss, self._refuse(loss, length, work)
        if limit is not None and length > limit:
            factor *= limit / (length + 1e-6)
        if factor != 1.0:
            scale_gradients(gradients, factor)
        if scaler is not None:
            scaler.succeeded()
        self.meters.add(self._norm_name, length, 1.0)
        return loss, True

    def _norm(self, gradients: list[Tensor]) -> Tensor:
        norm = gradient_norm(gradients)
        return norm if self._whole_norm is None else self._whole_norm(norm)

    def _read(self, loss: Any, norm: Tensor) -> tuple[float, float]:
        """Return both as numbers, with one wait for the device."""
        if not isinstance(loss, torch.Tensor):
            return float(loss), norm.item()
        loss_value, norm_value = torch.stack([loss.double(), norm.double()]).tolist()
        return loss_value, norm_value

    def _refuse(self, loss: float, norm: float, work: Work) -> bool:
        """Raise, unless it is a gradient that overflowed in fp16: that step is skipped, and the loss scaled less.

        Returns:
            False: the optimizer may not step.
        """
        if self.scaler is None or not math.isfinite(loss) or self.scaler.skipped_in_a_row >= _MOST_SKIPPED:
            raise NotFiniteError(loss, norm, work)
        self.scaler.overflowed()
        self.meters.add(self._norm_name, 0.0, 0.0)  # an entry in every step, so that ranks and resumes agree
        return False

    def _set_rate(self, step: int) -> None:
        factor = 1.0 if self.schedule is None else self.schedule(step, self.steps)
        for group, base in zip(self.optimizer.param_groups, self._base_rates, strict=True):
            if isinstance(base, torch.Tensor):
                group["lr"].fill_(base * factor)
            else:
                group["lr"] = base * factor
        self.learning_rate = factor * float(self._base_rates[0])

    def _check(self, loss: Any, weight: float, step: int) -> None:
        """Refuse, in the first step, what would silently train something else."""
        where = f"step {step}, phase {self.phase.name!r}"
        if not isinstance(loss, Loss):
            raise TrainError(
                f"The loss returned a {type(loss).__name__}, not a Loss.",
                where=where,
                fix="return Loss(total=..., weight=...), with the SUM over the items and their number.",
            )
        if loss.total.dim() or not loss.total.requires_grad:
            what = f"has shape {tuple(loss.total.shape)}" if loss.total.dim() else "requires no gradient"
            raise TrainError(
                f"Loss.total {what}; it must be a scalar that the backward pass can start from.", where=where
            )
        stated = loss.weight if _is_known(loss.weight) else None
        if weight and stated is not None and not math.isclose(float(stated), weight, rel_tol=1e-6):
            raise TrainError(
                f"Loss.weight is {float(stated):g} and Recipe.count of the same micro-batch is {weight:g}.",
                where=where,
                fix="Make both count the same items; without Recipe.count it is the samples, the first dimension.",
            )
        self._unchecked = False


def _works_behind(precision: Precision, spread: Spread) -> bool:
    """Whether the device may judge a step: not with fp16, whose scale the host decides, nor with DTensor gradients."""
    return precision.device.type == "cuda" and not precision.scaled and not spread.in_parts


def _is_known(weight: Any) -> bool:
    """Whether a weight is given, and has a value: on a virtual GPU a sum over many items has none."""
    virtual = sys.modules.get("trainworthy.virtual.tensors")  # there if the run is rehearsed
    return weight is not None and not (
        virtual is not None and isinstance(weight, torch.Tensor) and virtual.is_virtual(weight)
    )


def _collect(measured: dict[str, list[Any]], loss: Loss, weight: float) -> None:
    """Add the metrics of a micro-batch up; those of a filler count as nothing."""
    for name, mean in loss.metrics.items():
        total: Number = mean.total.detach() if isinstance(mean.total, torch.Tensor) else mean.total
        sums = measured.setdefault(name, [0.0, 0.0])
        if weight:
            sums[0] = sums[0] + total
            sums[1] = sums[1] + mean.weight


def _parameters(phase: Phase, model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    chosen = phase.parameters(model) if phase.parameters else model.named_parameters()
    found = [(name, each) for name, each in chosen if each.requires_grad]
    if not found:
        raise TrainError("There is no parameter to train.", where=f"phase {phase.name!r}", fix="Phase.parameters")
    return found
