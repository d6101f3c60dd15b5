"""How a model is spread over devices and ranks, and what that asks of a step."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from trainworthy.errors import TrainError, UsageError
from trainworthy.train.layout import Layout
from trainworthy.train.pipeline import Pipeline, cut
from trainworthy.train.precision import Precision
from trainworthy.train.recipe import Batch, Recipe, TrainOptions
from trainworthy.train.replicas import Buffers, Replicas


class Spread:
    """A model on its devices. What differs between one process, replicas and shards is said here, once.

    Attributes:
        model: What the losses are called with.
        in_parts: Whether a rank holds only a part of (some) weights: then all ranks join in each forward pass.
        pipeline: The model, where it is one; else None.
        loss_scale: Factor on the loss that undoes the averaging over ranks, where gradients are averaged (FSDP).
    """

    def __init__(self, model: nn.Module, layout: Layout, *, fully_sharded: bool = False, sharded: bool = False) -> None:
        self.model = model
        self.layout = layout
        self.in_parts = sharded or fully_sharded or layout.pipeline > 1
        self.loss_scale = float(layout.data) if fully_sharded else 1.0
        self._fully_sharded = fully_sharded
        self.pipeline = model if isinstance(model, Pipeline) else None
        self._data_group = layout.mesh["data"].get_group() if layout.data > 1 else None
        self._buffers = Buffers(model, self._data_group) if layout.data > 1 else None

    def replicas(self, parameters: list[nn.Parameter]) -> Replicas | None:
        """Return what sums the gradients of these parameters over ranks; None where nothing has to, or FSDP does."""
        if self._data_group is None or self._fully_sharded or not parameters:
            return None
        return Replicas(parameters, self._data_group)

    def before_backward(self, *, last: bool) -> None:
        """Say whether the next micro-batch is the step's last: only then do shards exchange gradients."""
        if self._fully_sharded:
            self.model.set_requires_gradient_sync(last)  # type: ignore[operator]

    def after_evaluation(self) -> None:
        """Have only shards again: without a backward pass, the outermost module keeps its whole weights."""
        if self._fully_sharded:
            for module in self.model.modules():
                if hasattr(module, "reshard"):
                    module.reshard()  # type: ignore[operator]

    def join_buffers(self) -> None:
        """Make buffers that the step changed the same on all ranks."""
        if self._buffers is not None:
            self._buffers.join()


def spread(
    model: nn.Module, recipe: Recipe, layout: Layout, precision: Precision, example: Callable[[], Batch]
) -> Spread:
    """Put the model on its devices as the options say.

    In this order: layers shared, blocks checkpointed, cut into stages, compiled, sharded.

    Args:
        model: With its initial weights, on the CPU.
        recipe: What to train.
        layout: Where this process stands.
        precision: Has the device.
        example: Makes a micro-batch, for tracing.

    Raises:
        UsageError: The options ask for what the recipe does not describe.
        TrainError: The initial weights differ between ranks.
    """
    options = recipe.options
    blocks = _blocks(model, recipe)
    model.to(precision.device)
    _compare_weights(model, layout)
    if options.sync_batch_norm and layout.data > 1:
        model = _sync_batch_norm(model, layout, precision.device)
    if layout.tensor > 1:
        _share_layers(model, recipe, layout)
    checkpoint_blocks(model, blocks, options)
    fully_sharded = layout.data > 1 and (options.distributed == "fsdp" or layout.tensor > 1)
    if layout.tensor > 1 and options.distributed == "ddp" and layout.data > 1:
        raise UsageError(
            "train.distributed is ddp, and train.tensor_parallel shares layers, which only FSDP replicates.",
            fix="train.distributed=fsdp (or auto).",
        )
    if layout.pipeline > 1:
        model = cut(model, recipe, layout, precision, example())
    if options.compile:
        (model.stage if isinstance(model, Pipeline) else model).compile()
    if fully_sharded:
        _shard(model, blocks, layout, precision)
    return Spread(model, layout, fully_sharded=fully_sharded, sharded=layout.tensor > 1)


def checkpoint_blocks(model: nn.Module, blocks: list[str], options: TrainOptions) -> None:
    """Let blocks compute their activations again in the backward pass instead of keeping them."""
    if options.activation_checkpointing == "none":
        return
    if not blocks:
        raise UsageError(
            f"train.activation_checkpointing is {options.activation_checkpointing}, and the recipe names no blocks.",
            where="Recipe.blocks",
            fix="Let Recipe.blocks return the names of the repeated blocks, or leave the option at none.",
        )
    from torch.utils.checkpoint import checkpoint

    for name in blocks[:: 2 if options.activation_checkpointing == "alternate" else 1]:
        block = model.get_submodule(name)
        # On the instance: names of modules and parameters stay as the user knows them.
        block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False)


def _blocks(model: nn.Module, recipe: Recipe) -> list[str]:
    names = recipe.blocks(model) if recipe.blocks else []
    known = {name for name, _ in model.named_modules()}
    for name in names:
        if name not in known:
            raise UsageError(f"The model has no module named {name!r}.", where="Recipe.blocks")
    return names


def _compare_weights(model: nn.Module, layout: Layout) -> None:
    """Refuse initial weights that differ between ranks: sharded or not, they would make a model that nobody meant."""
    if layout.world == 1:
        return
    sums = torch.stack([each.detach().double().sum().cpu() for each in model.parameters()] or [torch.zeros(())])
    rows = layout.gather(sums.tolist())
    for rank, row in enumerate(rows):
        if len(row) != len(rows[0]) or any(a != b and not math.isnan(a) for a, b in zip(row, rows[0], strict=True)):
            names = [name for name, _ in model.named_parameters()]
            first = next(name for name, a, b in zip(names, row, rows[0], strict=True) if a != b)
            raise TrainError(
                f"The initial weights of rank {rank} differ from those of rank 0, first in {first}.",
                where="Recipe.model",
                fix="Draw weights from torch's global generator alone; it is seeded alike on all ranks.",
            )


def _sync_batch_norm(model: nn.Module, layout: Layout, device: torch.device) -> nn.Module:
    if device.type == "cpu":
        raise UsageError(
            "train.sync_batch_norm is on, and torch's SyncBatchNorm does not compute on CPUs.",
            fix="Leave it off here; statistics are then those of each rank's own samples.",
        )
    converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model, layout.mesh["data"].get_group())
    return converted


def _share_layers(model: nn.Module, recipe: Recipe, layout: Layout) -> None:
    if recipe.tensor_plan is None:
        raise UsageError(
            f"train.tensor_parallel is {layout.tensor}, and the recipe has no plan for it.",
            where="Recipe.tensor_plan",
            fix="Let it return a mapping from names of modules to torch.distributed.tensor.parallel styles.",
        )
    from torch.distributed.tensor.parallel import parallelize_module

    plan = dict(recipe.tensor_plan(model))
    _check_divisible(model, plan, layout.tensor)
    parallelize_module(model, layout.mesh["tensor"], plan)


def _check_divisible(model: nn.Module, plan: Mapping[str, Any], ranks: int) -> None:
    """Refuse uneven shards of linear layers, which torch lets fail with shapes that nobody wrote."""
    for name, style in plan.items():
        try:
            module = model.get_submodule(name)
        except AttributeError:
            continue  # a pattern such as layers.*.linear: parallelize_module resolves it
        kind = type(style).__name__
        size = {"ColwiseParallel": "out_features", "RowwiseParallel": "in_features"}.get(kind)
        width = getattr(module, size, None) if size else None
        if isinstance(width, int) and width % ranks:
            raise UsageError(
                f"{name} has {size} {width}, which {ranks} ranks cannot share evenly ({kind}).",
                where="train.tensor_parallel",
                fix=f"Choose a width that is a multiple of {ranks}, or take the layer out of the plan.",
            )


def _shard(model: nn.Module, blocks: list[str], layout: Layout, precision: Precision) -> None:
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    policy = MixedPrecisionPolicy()
    if precision.autocast is torch.bfloat16:  # gathered in bf16, summed in fp32
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=False)
    mesh = layout.mesh["data"]
    for name in blocks:
        fully_shard(model.get_submodule(name), mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)
