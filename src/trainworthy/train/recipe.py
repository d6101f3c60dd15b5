"""What a training run is made of: plain, frozen, typed data that the engine reads and never changes.

A recipe is one file with one function, named ``recipe``, whose keyword parameters are the settings that a user may
change (name, type and default) and which returns a :class:`Recipe`. What every run has (steps, batch size, precision,
seed, ...) is in :class:`TrainOptions`; on the command line these are ``train.steps=...``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Union

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer
    from torch.utils.data import Dataset

Batch = Any
Data = Union["Dataset[Any]", Sequence[Any]]
Number = Union["Tensor", float, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """A metric as a sum and its weight, so that uneven batches and ranks average correctly.

    Attributes:
        total: Sum over the items counted, a scalar.
        weight: Number of items counted.
    """

    total: Number
    weight: Number


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """The loss of one micro-batch, as a sum over its items: the engine divides by the weight of the whole step.

    Attributes:
        total: SUM of the loss over the items counted (``reduction="sum"``), a scalar tensor that requires grad.
        weight: Number of items counted: samples, tokens, pixels. It must equal ``Recipe.count`` of the batch (checked
            in the first step); None: whatever that says.
        metrics: What else to log, by name.
    """

    total: Tensor
    weight: Number | None = None
    metrics: Mapping[str, Mean] = field(default_factory=dict)

    @classmethod
    def of_mean(cls, mean: Tensor, *, weight: Number, metrics: Mapping[str, Mean] | None = None) -> Loss:
        """Return the loss of a batch whose *mean* over ``weight`` items is known."""
        return cls(total=mean * weight, weight=weight, metrics=metrics or {})


LossFunction = Callable[["nn.Module", Batch], Loss]
Schedule = Callable[[int, int], float]  # (step, steps in all) -> factor on the learning rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """What one optimizer does in a step; most recipes have one, a GAN has two, which run in order.

    Attributes:
        name: Shown in logs, unique among a recipe's phases.
        loss: ``(model, micro-batch) -> Loss``.
        optimizer: Takes this phase's parameters as (name, parameter) pairs, returns the optimizer.
        parameters: Which parameters of the model this phase trains; None: all that require a gradient. Parameters
            of other phases get no gradient here.
        schedule: Factor on the learning rate of each group; None: constant.
        clip_norm: Gradients are clipped to this 2-norm, after unscaling and across all ranks; None: not clipped.
        every: The phase runs in each ``every``-th step.
    """

    name: str = "train"
    loss: LossFunction
    optimizer: Callable[[list[tuple[str, nn.Parameter]]], Optimizer]
    parameters: Callable[[nn.Module], Iterable[tuple[str, nn.Parameter]]] | None = None
    schedule: Schedule | None = None
    clip_norm: float | None = None
    every: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """The stated quality of a recipe, measured on its validation data at the end.

    Attributes:
        metric: Name of a metric of the evaluation (``loss`` is one).
        at_least: Lower bound, or None.
        at_most: Upper bound, or None.
    """

    metric: str
    at_least: float | None = None
    at_most: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """What every run has. All are keys of the command line (``train.steps=500``).

    Attributes:
        steps: Optimizer steps in all; None: from ``epochs``.
        epochs: Passes over the data, where ``steps`` is None.
        batch_size: Samples of one optimizer step over all ranks and micro-batches (the global batch).
        micro_batch_size: Samples that one rank takes through the model at a time; None: the global batch divided
            by the ranks. The last micro-batch of a step may be smaller.
        precision: ``fp32``, ``tf32``, ``bf16`` (autocast), ``fp16`` (autocast with a gradient scaler).
        seed: Everything random follows from it: order = f(seed, epoch), item = f(seed, epoch, index),
            step = f(seed, step, rank), initial weights.
        deterministic: Use deterministic algorithms, refuse operators that have none.
        device: ``auto``: the accelerator of this rank if there is one, else the CPU.
        distributed: What several ranks hold: ``ddp``: replicas; ``fsdp``: shards; ``auto``: replicas, or shards where
            layers are shared too (``tensor_parallel``).
        tensor_parallel: Ranks that share each layer, by ``Recipe.tensor_plan``.
        pipeline_parallel: Stages, by ``Recipe.pipeline_split``.
        sync_batch_norm: Convert BatchNorm to SyncBatchNorm (several ranks on GPUs).
        activation_checkpointing: ``none``, ``full`` (every block of ``Recipe.blocks``), ``alternate`` (every other).
        compile: Compile the model with torch.compile.
        ema_decay: Keep an exponential moving average of the weights and evaluate with it; None: none.
        evaluate_every: Steps between evaluations; None: at the end of each epoch. 0: only at the end.
        early_stopping_patience: Evaluations without a better result after which the run stops; None: never.
        best_metric: The metric that says which checkpoint is best, what a plateau is, and when to stop early.
        best_is: Whether the ``lowest`` or the ``highest`` is the best.
        checkpoint_every: Steps between checkpoints; None: at the end of each epoch. 0: only at the end.
        keep_checkpoints: How many of the newest are kept (the best is kept besides).
        async_checkpoint: Write checkpoints in the background.
        resume: ``auto``: from the newest sound checkpoint of the run's folder; ``never``: refuse a folder that
            has one; or the path of a checkpoint.
        workers: Processes that load data, for each rank.
        log_every_s: Seconds between lines of progress where the output is not a terminal.
        log_every: Steps between rows of metrics.jsonl (metrics are read from the device only then).
        max_time_s: Save and leave after this time; None: no limit.
        check_finite: Stop with an error, before the optimizer's step, when loss or gradient norm is not finite.
        overfit_batches: Train on only this many batches, again and again, to see that the model can learn.
        profile_steps: Steps of a profiler window, "FROM:TO"; None: none.
        tensorboard: Write TensorBoard events; None: when it is installed.
        mfu: Count the FLOPs of a step on a virtual GPU before the run (some seconds), and log the model FLOPs
            utilisation against the GPU's stated peak.
        guard_steps: Watch the first steps with the live checks of ``trainworthy check``; 0: not.
    """

    steps: int | None = None
    epochs: int = 1
    batch_size: int = 32
    micro_batch_size: int | None = None
    precision: Literal["fp32", "tf32", "bf16", "fp16"] = "fp32"
    seed: int = 0
    deterministic: bool = False
    device: str = "auto"
    distributed: Literal["auto", "ddp", "fsdp"] = "auto"
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    sync_batch_norm: bool = False
    activation_checkpointing: Literal["none", "full", "alternate"] = "none"
    compile: bool = False
    ema_decay: float | None = None
    evaluate_every: int | None = None
    early_stopping_patience: int | None = None
    best_metric: str = "loss"
    best_is: Literal["lowest", "highest"] = "lowest"
    checkpoint_every: int | None = None
    keep_checkpoints: int = 3
    async_checkpoint: bool = False
    resume: str = "auto"
    workers: int = 0
    log_every_s: float = 10.0
    log_every: int = 10
    max_time_s: float | None = None
    check_finite: bool = True
    overfit_batches: int = 0
    profile_steps: str | None = None
    tensorboard: bool | None = None
    mfu: bool = False
    guard_steps: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A training run, described.

    Attributes:
        model: Makes the model; called once a rank, after seeding. GANs return one module that holds both networks.
        phases: What each optimizer does in a step, in order.
        train_data: Map-style: ``len()`` and ``[index]``; random numbers drawn in ``__getitem__`` are exact on
            resume. An iterable dataset needs ``state_dict``/``load_state_dict`` (the StatefulDataLoader protocol).
        validation_data: Map-style; None: no evaluation.
        collate: Samples -> batch; None: torch's default.
        count: Items in a batch that the loss counts; None: samples (the first dimension of its first tensor).
            Known before the forward pass, so that each micro-batch is weighted by its share of the whole step.
        evaluate: ``(model, batch) -> Loss`` for validation; None: the first phase's loss.
        finish: Called with the trained model (evaluation mode, the average's weights where there is one) at the
            end on rank 0: further results by name, such as a GAN's metric or an LM's perplexity.
        blocks: Names (as in ``named_modules``) of the repeated blocks, for checkpointing and sharding.
        tensor_plan: Module name -> ``ParallelStyle`` for tensor parallelism.
        pipeline_split: Names of the blocks that begin a stage (one less than stages), or a function of the number
            of stages that returns them.
        options: What every run has.
        quality: The stated quality, checked at the end.
    """

    model: Callable[[], nn.Module]
    phases: tuple[Phase, ...]
    train_data: Data
    validation_data: Data | None = None
    collate: Callable[[list[Any]], Batch] | None = None
    count: Callable[[Batch], Number] | None = None
    evaluate: LossFunction | None = None
    finish: Callable[[nn.Module], Mapping[str, float]] | None = None
    blocks: Callable[[nn.Module], list[str]] | None = None
    tensor_plan: Callable[[nn.Module], Mapping[str, Any]] | None = None
    pipeline_split: Callable[[nn.Module, int], list[str]] | None = None
    options: TrainOptions = TrainOptions()
    quality: Quality | None = None
