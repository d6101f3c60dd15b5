"""What a memory estimate needs to know about a run: the model, its layout, and the habits of the software."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from trainworthy.errors import UsageError
from trainworthy.estimate.memory_habits import MemoryHabits, NormKeeps, memory_habits
from trainworthy.estimate.model_dims import ModelDims
from trainworthy.estimate.run_config import RunConfig
from trainworthy.formulas.optimizer_state import optimizer_bytes_per_parameter
from trainworthy.hardware.gpu import Gpu

Checkpointing = Literal["none", "full", "op", "layer", "attention"]
Adapters = Literal["none", "lora", "prefix", "scale"]
# Beyond this a size is a slip of the pen, and products of sizes would no longer be numbers anybody can read.
_LARGEST = 10**12
_LARGEST_WIDTH = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryInput:
    """Degrees multiply to the number of GPUs; ``shard_ranks`` are the ranks that ZeRO or FSDP divides by."""

    model: ModelDims
    gpu: Gpu
    habits: MemoryHabits
    seq_len: int
    micro_batch: int
    micro_batches: int = 1
    """Micro batches of a step, one after another on a rank."""
    num_gpus: int = 1
    tp: int = 1
    pp: int = 1
    cp: int = 1
    ep: int = 1
    interleave: int = 1
    zero_stage: int = 0
    shard_ranks: int = 1
    sequence_parallel: bool = False
    checkpointing: Checkpointing = "none"
    attention: Literal["flash", "fused", "unfused"] = "flash"
    norms: NormKeeps = "fused"
    compiled: bool = False
    element_bytes: int = 2
    """An element of an activation."""
    adapters: Adapters = "none"
    """What is trained instead of the weights: low-rank products, a prefix of attention, scales and biases."""
    trainable_parameters: int = 0
    """Parameters of the adapters."""
    quantized_bytes: float | None = None
    """Bytes of a frozen weight of a linear layer in a 4-bit format, with its scales; None: not quantized."""
    quantizes_head: bool = True
    """Whether the output matrix is in the 4-bit format too."""
    task: Literal["train", "inference"] = "train"
    loss_bytes: float | None = None
    """Bytes of the loss for each logit at its highest point, where it is known; None: as the software does."""
    loads_whole: bool = False
    """Each rank loads the whole model to its GPU and then shards it, as FSDP does without meta devices."""

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be.

        Raises:
            UsageError: For a size below 1 or absurdly large, or degrees that do not fit.
        """
        names = ("seq_len", "micro_batch", "micro_batches", "num_gpus", "tp", "pp", "cp", "ep", "interleave")
        for name in (*names, "shard_ranks"):
            value = getattr(self, name)
            if not isinstance(value, int) or not 1 <= value <= _LARGEST:
                raise UsageError(f"{name} is {value!r}; it must be a whole number of at least 1.")
        for name in ("layers", "hidden", "ffn_hidden", "heads", "kv_heads", "head_dim", "vocabulary"):
            value = getattr(self.model, name)
            if value is not None and not 1 <= value <= _LARGEST_WIDTH:
                raise UsageError(f"{name} of the model is {value!r}; it must be between 1 and {_LARGEST_WIDTH}.")
        if self.gpu.memory_bytes <= 0:
            raise UsageError(f"The memory of {self.gpu.id} is {self.gpu.memory_bytes} bytes.", where="gpu_memory_gb")
        if self.zero_stage not in (0, 1, 2, 3):
            raise UsageError(f"zero_stage is {self.zero_stage!r}; stages are 0, 1, 2 and 3.")
        if self.pp > self.model.layers + 3:
            raise UsageError(
                f"pp is {self.pp}, more stages than the model has layers ({self.model.layers}).",
                fix="Take fewer pipeline stages.",
            )

    @property
    def tokens(self) -> float:
        """Tokens of one micro batch on one rank."""
        return self.micro_batch * self.seq_len / self.cp


def _optimizer_bytes(optimizer: str, habits: MemoryHabits) -> float:
    """Put the states of ``optimizer`` in the place of Adam's; the float32 copy of the weights, if any, stays."""
    element_bytes = 4 if habits.optimizer_bytes >= 8 else 2
    adam = optimizer_bytes_per_parameter(optimizer="adam", bytes_per_element=element_bytes)
    return habits.optimizer_bytes - adam + optimizer_bytes_per_parameter(
        optimizer=optimizer, bytes_per_element=element_bytes
    )  # fmt: skip


def memory_input(config: RunConfig) -> MemoryInput:
    """Take from a run what its memory depends on."""
    habits = memory_habits(config.stack, precision=config.precision)
    if config.reduces_fp32:
        habits = replace(habits, reduce_bytes=4.0)
    if config.stack == "torchtitan" and config.compiled and _is_after_2024(config):
        habits = replace(habits, loss="compiled")
    if config.optimizer is not None:
        habits = replace(habits, optimizer_bytes=_optimizer_bytes(config.optimizer, habits))
    norms: NormKeeps = habits.norms
    if config.fused_norms is not None:
        norms = "fused" if config.fused_norms else "upcast"
    elif config.compiled:
        norms = "fused"
    return MemoryInput(
        model=config.model, gpu=config.gpu, habits=habits, seq_len=config.seq_len, micro_batch=config.micro_batch,
        micro_batches=config.grad_accumulation, num_gpus=config.num_gpus, tp=config.tp, pp=config.pp, cp=config.cp,
        ep=config.ep, interleave=config.interleave, zero_stage=config.zero_stage, shard_ranks=_shard_ranks(config),
        sequence_parallel=config.sequence_parallel, checkpointing=_checkpointing(config), attention=config.attention,
        norms=norms, compiled=config.compiled, element_bytes=4 if config.precision in ("fp32", "tf32") else 2,
        adapters="lora" if config.is_lora else "none",
        trainable_parameters=_lora_parameters(config.model) if config.is_lora else 0,
    )  # fmt: skip


def _is_after_2024(config: RunConfig) -> bool:
    """Torchtitan compiles the loss too since early 2025; tables give no date, but GPUs that came later do."""
    return config.generation not in {"volta", "ampere", "hopper"} or config.gpu.id.startswith("h200")


def _shard_ranks(config: RunConfig) -> int:
    """Context-parallel ranks hold the same weights, so whoever shards over all data-parallel ranks uses them too."""
    return config.shard_ranks * config.cp if config.shard_ranks == config.dp else config.shard_ranks


def _checkpointing(config: RunConfig) -> Checkpointing:
    if config.checkpointing != "selective":
        return config.checkpointing
    if config.selection is not None:
        return config.selection
    return "op" if config.stack == "torchtitan" else "attention"


def _lora_parameters(model: ModelDims, rank: int = 16) -> int:
    """Adapters of that rank at queries, keys, values and the output of attention, as recipes have them by default."""
    widths = 2 * (model.hidden + model.attention_width) + 2 * (model.hidden + model.kv_width)
    return model.layers * rank * widths
