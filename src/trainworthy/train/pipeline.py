"""A model cut into pipeline stages, and a step's micro-batches taken through them.

The model's forward is traced with torch.fx, the repeated blocks as they are, and cut where a named block begins. A
stage keeps the names of its parameters. Each rank of a pipeline reads the same micro-batches, so what the model is
called with need not travel: only values that an earlier stage computed and a later one uses do, through torch's
PipelineStage.

The loss is the recipe's own: on the last stage it is called with a stand-in for the model, whose answer is the output
of the pipeline. It must therefore call the model once.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, distributed, fx, nn

from trainworthy.errors import TrainError, UsageError
from trainworthy.train.batches import moved, tensors_of
from trainworthy.train.layout import Layout
from trainworthy.train.precision import Precision
from trainworthy.train.randomness import Domain, StepSeeder
from trainworthy.train.recipe import Batch, Loss, LossFunction, Recipe
from trainworthy.train.stages import Answer, call_of, stage_modules


class Pipeline(nn.Module):
    """This rank's stage, and the stages of the others behind it.

    Called as a module (in an evaluation) it takes a batch through all stages, and every rank gets the answer.

    Attributes:
        stage: A ``GraphModule``; its parameters have the names of the whole model, which is why they are read from it.
    """

    def __init__(
        self, stage: fx.GraphModule, signature: inspect.Signature, layout: Layout, numbers: Precision, seed: StepSeeder
    ) -> None:
        super().__init__()
        self.stage, self._signature, self._numbers, self._seed = stage, signature, numbers, seed
        self._device = numbers.device
        self._group = layout.mesh["pipeline"].get_group()
        self.index, self.count = distributed.get_rank(self._group), distributed.get_world_size(self._group)
        self._schedules: dict[Any, Any] = {}
        self._names = [each.target for each in stage.graph.nodes if each.op == "placeholder"]
        self._num_carried = sum(name.startswith("carried_") for name in self._names)

    @property
    def last(self) -> bool:
        """Whether this rank has the output."""
        return self.index == self.count - 1

    def named_parameters(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield the stage's parameters by their names in the whole model."""
        return self.stage.named_parameters(*args, **kwargs)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Return the stage's weights and buffers by their names in the whole model."""
        return self.stage.state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Load the stage's weights and buffers."""
        return self.stage.load_state_dict(*args, **kwargs)

    def compute(self, carried: tuple[Tensor, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run this stage."""
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        with self._numbers.context():
            return self.stage(*carried, *(bound.arguments[name] for name in self._names[self._num_carried :]))

    def whole_norm(self, norm: Tensor) -> Tensor:
        """Return the norm of the gradients of all stages."""
        squares = norm.square()
        distributed.all_reduce(squares, group=self._group)
        return squares.sqrt()

    def from_last(self, word: Any) -> Any:
        """Return what the last stage said."""
        box = [word]
        distributed.broadcast_object_list(box, group=self._group, group_src=self.count - 1)
        return box[0]

    def whole_state(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return a run's state with the parts of all stages: what one process would have."""
        states: list[Any] = [None] * self.count
        distributed.all_gather_object(states, state, group=self._group)
        for part in ("model", "average"):
            if state[part] is not None:
                state[part] = {name: value for each in states for name, value in each[part].items()}
        for phase, own in state["phases"].items():
            parts = [each["phases"][phase]["optimizer"] for each in states]
            own["optimizer"] = {
                "state": {name: value for part in parts for name, value in part["state"].items()},
                "groups": [
                    {**groups[0], "params": [name for group in groups for name in group["params"]]}
                    for groups in zip(*(part["groups"] for part in parts), strict=True)
                ],
            }
        return state

    def own_state(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return the part of a whole state that is this stage's."""
        names = {name for name, _ in self.named_parameters()}
        phases = {}
        for phase, each in state["phases"].items():
            whole = each["optimizer"]
            groups = [{**g, "params": [name for name in g["params"] if name in names]} for g in whole["groups"]]
            kept = {name: value for name, value in whole["state"].items() if name in names}
            phases[phase] = {**each, "optimizer": {"state": kept, "groups": groups}}
        mine = {name: value for name, value in state["model"].items() if name in self.state_dict()}
        average = state["average"]
        if average is not None:
            average = {name: value for name, value in average.items() if name in names}
        return {**state, "model": mine, "phases": phases, "average": average}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the model's output, on every rank."""
        value: Any = ()
        for index in range(self.count):
            if index == self.index:
                value = self.compute(value, args, kwargs)
            box = [value if index == self.index else None]
            distributed.broadcast_object_list(box, group=self._group, group_src=index)
            value = box[0]
        return value

    def run(
        self,
        batches: tuple[Batch, ...],
        loss: LossFunction,
        starts: list[float],
        *,
        step: int,
    ) -> list[Loss]:
        """Take micro-batches forward and backward; return their losses, on the last stage.

        Each micro-batch draws from random numbers of its own, because torch runs the first of each shape twice.

        Args:
            batches: This step's.
            loss: The recipe's.
            starts: With what the backward pass of each micro-batch starts.
            step: Number of the step.
        """
        losses: dict[int, Loss] = {}
        place = 0
        while place < len(batches):  # runs of equal shapes
            calls = [call_of(loss, batches[place])]
            shape = _shape(calls[0])
            while place + len(calls) < len(batches):
                call = call_of(loss, batches[place + len(calls)])
                if _shape(call) != shape:
                    break
                calls.append(call)
            self._run_equal(place, calls, functools.partial(self._scalar, batches, loss, starts, losses), step=step)
            place += len(calls)
        return [losses[each] for each in sorted(losses)]

    def _scalar(  # noqa: PLR0917 - a partial of it is what a schedule calls
        self,
        batches: tuple[Batch, ...],
        loss: LossFunction,
        starts: list[float],
        losses: dict[int, Loss],
        place: int,
        output: Any,
    ) -> Tensor:
        """Return what the backward pass of a micro-batch begins with, and keep its loss."""
        with self._numbers.context():
            losses[place] = found = loss(Answer(output), batches[place])
        total = found.total.float() if found.total.dtype.itemsize < 4 else found.total
        return total * starts[place]

    def _run_equal(self, first: int, calls: list[Any], scalar: Callable[[int, Any], Tensor], *, step: int) -> None:
        """Run micro-batches of equal shapes, of which the first has the number ``first``."""
        key = (len(calls), _shape(calls[0]))
        if key not in self._schedules:
            self._schedules[key] = self._schedule(len(calls))
        schedule, context = self._schedules[key]
        context.calls, context.seed = calls, lambda place: self._seed((step << 16) + first + place)
        context.loss = lambda output, where: scalar(first + int(where), output)
        index = torch.arange(len(calls), device=self._device)
        kwargs: dict[str, Any] = {"where": index}
        if self.index == 0:
            schedule.step(torch.zeros(len(calls), device=self._device), **kwargs)
        elif self.last:
            schedule.step(target=index, return_outputs=False, **kwargs)
        else:
            schedule.step(**kwargs)

    def _schedule(self, num: int) -> Any:
        from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe

        context = _Context(self)
        stage = PipelineStage(context, self.index, self.count, self._device, group=self._group)
        kind = Schedule1F1B if num >= self.count else ScheduleGPipe
        return kind(stage, num, loss_fn=context.call_loss, scale_grads=False), context


class _Context(nn.Module):
    """A stage as torch's schedule calls it: with what was carried, and the number of a micro-batch."""

    loss: Callable[[Any, Tensor], Tensor]
    seed: Callable[[int], None]

    def __init__(self, pipeline: Pipeline) -> None:
        super().__init__()
        self._run = pipeline.compute
        self._is_first, self._is_last = pipeline.index == 0, pipeline.last
        self.stage = pipeline.stage
        self.calls: list[Any] = []

    def call_loss(self, output: Any, where: Tensor) -> Tensor:
        """Return what the backward pass of a micro-batch begins with."""
        return self.loss(output, where)

    def forward(self, *carried: Tensor, where: Tensor) -> Any:
        place = int(where)
        self.seed(place)
        args, kwargs = self.calls[place]
        found = self._run(() if self._is_first else carried, args, kwargs)
        if not self._is_last:
            for each in found:
                if not (isinstance(each, torch.Tensor) and each.is_floating_point()):
                    raise TrainError(
                        f"A {type(each).__name__} that is no tensor of floats would have to go to the next stage.",
                        where="Recipe.pipeline_split",
                        fix="Cut elsewhere, or compute it inside of the blocks that use it.",
                    )
        return found


def _shape(call: Any) -> Any:
    return tuple((path, tuple(each.shape), each.dtype) for path, each in tensors_of(call))


def cut(model: nn.Module, recipe: Recipe, layout: Layout, numbers: Precision, example: Batch) -> Pipeline:
    """Return this rank's stage of a model.

    Raises:
        UsageError: The recipe does not say where to cut, or asks for something besides that a pipeline has not.
    """
    if recipe.pipeline_split is None:
        raise UsageError(
            f"train.pipeline_parallel is {layout.pipeline}, and the recipe does not say where to cut.",
            where="Recipe.pipeline_split",
            fix="Let it return the names of the blocks with which the stages after the first begin.",
        )
    if len(recipe.phases) > 1 or layout.tensor > 1 or recipe.options.distributed == "fsdp":
        raise UsageError(
            "A pipeline takes one phase, and goes together with replicas of data only.",
            where="train.pipeline_parallel",
            fix="Use train.distributed=fsdp or train.tensor_parallel without a pipeline.",
        )
    starts = recipe.pipeline_split(model, layout.pipeline)
    if len(starts) != layout.pipeline - 1:
        raise UsageError(
            f"{layout.pipeline} stages need {layout.pipeline - 1} names of blocks, not {starts}.",
            where="Recipe.pipeline_split",
        )
    signature = inspect.signature(model.forward)
    args, kwargs = call_of(recipe.phases[0].loss, moved(example, numbers.device))
    given = signature.bind(*args, **kwargs).arguments
    absent = {
        name: each.default
        for name, each in signature.parameters.items()
        if name not in given and each.default is not inspect.Parameter.empty
    }
    leaves = recipe.blocks(model) if recipe.blocks else []
    stages = stage_modules(model, starts, leaves, absent)
    index = layout.mesh["pipeline"].get_local_rank()
    own = StepSeeder(  # other numbers than those of any rank's steps
        recipe.options.seed,
        rank=layout.data + layout.data_rank * layout.pipeline + index,
        device=numbers.device,
        domain=Domain.STEP,
    )
    return Pipeline(stages[index], signature, layout, numbers, own)
