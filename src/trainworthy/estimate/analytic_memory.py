"""Peak memory of a run from its description alone: states, activations, loss, buffers, allocator, context.

The peak is the highest of a few moments of a step, on the pipeline stage where it is highest: when the loss is there
and all activations are; in the backward pass of the last layer, and of the one before it, when gradients of the last
are on their way; and in the optimizer step. Each is a sum of named parts with their sources. Three figures are told
apart (`RunMemory`): what tensors take (``torch.cuda.max_memory_allocated``), what the caching allocator reserves, and
what nvidia-smi shows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from trainworthy.estimate.memory_habits import NCCL_FIRST_GROUP, NCCL_FURTHER_GROUP
from trainworthy.estimate.memory_input import MemoryInput, memory_input
from trainworthy.estimate.memory_layers import final_norm_bytes, layer_bytes, residual_bytes, sequence_degree
from trainworthy.estimate.memory_stages import Stage, stages
from trainworthy.estimate.memory_states import Moment, cast_weight_bytes, fsdp_parts, state_parts, step_parts
from trainworthy.estimate.memory_words import Figure
from trainworthy.estimate.quantity import Quantity, exactly, total
from trainworthy.estimate.run_config import RunConfig

Verdict = Literal["yes", "no", "unsure"]

# How far a part may be off: states are counted, activations depend on what kernels keep, the loss on how it is
# written, buffers on settings that no table states.
SURE = Quantity(0.99, 1.0, 1.02)
ACTIVATIONS = Quantity(0.85, 1.0, 1.15)
LOSS = Quantity(0.4, 1.0, 1.3)
BUFFERS = Quantity(0.5, 1.0, 1.5)
# Elements of the loss, in bytes at its highest point, for 16-bit logits: these, log-softmax, the gradients of the loss
# and of log-softmax in float32 (eager); with the gathered logits and their float32 copy too (gathered); compiled, one
# float32 value; fused, the gradient only; Megatron's vocab-parallel loss works in place; half, all of it in 16 bits;
# chunked, the logits and their gradient.
_LOSS_BYTES = {"eager": 14.0, "gathered": 20.0, "compiled": 6.0, "vocab_parallel": 8.0, "fused": 4.0,
               "half": 8.0, "chunked": 4.0}  # fmt: skip
_FLOAT32_LOSS_BYTES = {"eager": 12.0, "gathered": 20.0, "compiled": 8.0, "vocab_parallel": 8.0, "fused": 8.0,
                       "half": 12.0, "chunked": 8.0}  # fmt: skip
# A verdict needs this much distance from the memory of the GPU: identical layouts of one source differ by as much.
_MARGIN = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPart:
    """One summand of the peak."""

    name: str
    bytes: Quantity
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMemory:
    """Peak memory of the fullest GPU of a run."""

    moment: Moment
    """When in a step the peak is; ``last layer`` and ``backward`` are the backward pass, of it and of the others."""
    stage: int
    """The pipeline stage that is fullest."""
    parameters_per_gpu: float
    """Parameters of the rank before sharding by data parallelism."""
    parts: tuple[MemoryPart, ...]
    """Parts of ``allocated``, largest first."""
    allocated: Quantity
    """Bytes of tensors: torch.cuda.max_memory_allocated."""
    reserved: Quantity
    """Bytes that the caching allocator holds: torch.cuda.max_memory_reserved."""
    device: Quantity
    """Bytes that nvidia-smi shows: reserved, CUDA context and communicators."""
    memory_bytes: int
    """What the driver of the GPU reports."""
    could_be_less: bool = False
    """Whether the run may recompute activations without saying so; the low ends are with full recomputation."""

    @property
    def fits(self) -> Verdict:
        """Whether a step runs; ``"unsure"`` within 2 % of the memory of the GPU."""
        share = self.device.expected / self.memory_bytes
        if abs(share - 1) < _MARGIN or (share > 1 and self.could_be_less and self.device.low < self.memory_bytes):
            return "unsure"
        return "yes" if share < 1 else "no"

    def figure(self, kind: Figure) -> Quantity:
        """Return the figure of that kind."""
        return {"allocated": self.allocated, "reserved": self.reserved, "device": self.device}[kind]

    def part_bytes(self, name: str) -> float:
        """Return the expected bytes of a part, 0 if there is none of that name."""
        return sum(part.bytes.expected for part in self.parts if part.name == name)


def estimate_run_memory(config: RunConfig) -> RunMemory:
    """Estimate the peak memory of a run, on the GPU where it is highest.

    Raises:
        UsageError: For sizes that cannot be.
    """
    run = memory_input(config)
    found = estimate_memory(run)
    if run.checkpointing == "full" or not any("checkpointing" in each for each in config.assumptions):
        return found
    # A table that does not say whether activations are recomputed leaves open all that recomputation saves.
    least = estimate_memory(replace(run, checkpointing="full"))
    return replace(
        found, allocated=_down_to(found.allocated, least.allocated), reserved=_down_to(found.reserved, least.reserved),
        device=_down_to(found.device, least.device), could_be_less=True,
    )  # fmt: skip


def estimate_memory(run: MemoryInput) -> RunMemory:
    """Estimate the peak memory of what a `MemoryInput` describes."""
    moments: tuple[Moment, ...] = ("loss", "last layer", "backward", "step") if run.task == "train" else ("loss",)
    candidates = [
        (moment, stage, _parts(run, stage, moment))
        for stage in stages(run)
        for moment in moments
        if moment != "loss" or stage.has_loss
    ]
    if run.loads_whole:
        candidates.append(("loading", stages(run)[0], _loading(run)))
    moment, stage, parts = max(candidates, key=lambda found: sum(part.bytes.expected for part in found[2]))
    allocated = total(part.bytes for part in parts)
    reserved = _product(allocated, run.habits.fragmentation)
    return RunMemory(
        moment=moment, stage=stage.index, parameters_per_gpu=stage.parameters,
        parts=tuple(sorted(parts, key=lambda part: -part.bytes.expected)), allocated=allocated, reserved=reserved,
        device=reserved.plus(_context(run)).plus(_communicators(run)), memory_bytes=run.gpu.memory_bytes,
    )  # fmt: skip


def _parts(run: MemoryInput, stage: Stage, moment: Moment) -> list[MemoryPart]:
    parts = [
        MemoryPart(name=name, bytes=_product(exactly(size), SURE), source=source)
        for name, size, source in state_parts(run, stage, gradients=_gradients_exist(run, moment))
    ]
    parts.append(
        MemoryPart(name="libraries", bytes=exactly(_library_bytes(run)), source="two cuBLAS workspaces, torch 2.x")
    )
    if moment == "step":
        parts.extend(_spread(step_parts(run, stage), BUFFERS))
    else:
        parts.extend(_activations(run, stage, moment))
        parts.extend(_spread(fsdp_parts(run, stage, moment), BUFFERS))
    return [part for part in parts if part.bytes.expected > 0]


def _loading(run: MemoryInput) -> list[MemoryPart]:
    """The whole model, the shards that are cut from it, and the unit that is being cut, whole and in one piece."""
    stage = stages(run)[0]
    whole = stage.parameters * run.element_bytes
    unit = (stage.embedding_parameters + stage.head_parameters) * run.element_bytes
    source = "Zhao et al. 2023 (PyTorch FSDP), section 3.1: initialisation on the GPU, then sharding unit by unit"
    parts = [("weights", whole, source), ("shards", whole / run.shard_ranks, source), ("unit", unit, source)]
    return _spread(parts, BUFFERS)


def _gradients_exist(run: MemoryInput, moment: Moment) -> bool:
    """With one micro batch gradients appear as activations go; the sum is highest at one of the ends."""
    return moment == "step" or run.micro_batches > 1


def _activations(run: MemoryInput, stage: Stage, moment: Moment) -> list[MemoryPart]:
    if run.task == "inference":
        return []
    layer = layer_bytes(run)
    kept = layer.kept * (stage.layers_under_way - (1 if moment == "backward" and stage.layers else 0))
    if run.pp > 1:
        hidden = run.tokens * run.model.hidden * residual_bytes(run) / sequence_degree(run)
        kept += hidden * run.habits.stage_outputs * stage.micro_batches_under_way
    if stage.has_loss:
        kept += final_norm_bytes(run)
    parts = [
        ("activations", kept, ACTIVATIONS, "estimate.memory_layers: kept by layers for the backward pass"),
        ("cast weights", cast_weight_bytes(run, stage), SURE, "torch.autocast keeps 16-bit copies of weights"),
    ]
    if moment == "loss":
        parts.append(("loss", _loss_bytes(run), LOSS, "logits and what cross-entropy makes of them"))
    elif stage.layers:
        parts.append(("recomputed", layer.recomputed, ACTIVATIONS, "one layer, computed again under checkpointing"))
        parts.append(("backward", layer.working, ACTIVATIONS, "gradients of one layer's activations"))
    return [
        MemoryPart(name=name, bytes=_product(exactly(size), spread), source=source)
        for name, size, spread, source in parts
    ]


def _loss_bytes(run: MemoryInput) -> float:
    vocabulary = (run.model.vocabulary or 0) / (run.tp if run.habits.logits_over_tp else 1)
    each = _FLOAT32_LOSS_BYTES if run.element_bytes == 4 else _LOSS_BYTES  # no float32 copy of what is float32
    return run.tokens * vocabulary * (each[run.habits.loss] if run.loss_bytes is None else run.loss_bytes)


def _library_bytes(run: MemoryInput) -> float:
    """The workspaces that torch allocates for cuBLAS: 32 MiB from Hopper on, before it twice 4 MiB and 8 times 16 KiB.

    Twice: autograd's thread has its own, see ``inspect/workspaces.py``.

    Source: torch 2.13, aten/src/ATen/cuda/CublasHandlePool.cpp, getChosenWorkspaceSize
    """
    return 2.0 * (32 << 20 if run.gpu.compute_capability >= (9, 0) else (2 * 4096 + 8 * 16) << 10)


def _spread(parts: Iterable[tuple[str, float, str]], spread: Quantity) -> list[MemoryPart]:
    return [
        MemoryPart(name=name, bytes=_product(exactly(size), spread), source=source) for name, size, source in parts
    ]  # fmt: skip


def _context(run: MemoryInput) -> Quantity:
    context = run.gpu.architecture.context
    return Quantity(float(context.low_bytes), float(context.expected_bytes), float(context.high_bytes))


def _communicators(run: MemoryInput) -> Quantity:
    """NCCL keeps buffers for each communicator; data, tensor, pipeline and context groups are one each."""
    if run.num_gpus == 1:
        return exactly(0.0)
    dp = run.num_gpus // (run.tp * run.pp * run.cp)
    groups = sum(degree > 1 for degree in (dp, run.tp, run.pp, run.cp, run.ep))
    return NCCL_FIRST_GROUP.plus(NCCL_FURTHER_GROUP.times(max(groups - 1, 0)))


def _down_to(quantity: Quantity, least: Quantity) -> Quantity:
    return Quantity(min(quantity.low, least.low), quantity.expected, quantity.high)


def _product(quantity: Quantity, factor: Quantity) -> Quantity:
    return Quantity(*(a * b for a, b in zip(quantity, factor, strict=True)))


def with_micro_batch(run: MemoryInput, micro_batch: int) -> MemoryInput:
    """Return the same run with another micro batch."""
    return replace(run, micro_batch=micro_batch)
