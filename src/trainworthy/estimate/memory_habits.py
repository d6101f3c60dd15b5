"""What training stacks keep in memory where a table of runs does not say: types, copies, buffers, partition, loss.

Every figure has a source line. They are habits of the software, read from its code or its manual, not fits to the runs;
the few that were taken from measurements are said to be (``FRAGMENTATION``, ``NCCL``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from trainworthy.estimate.quantity import Quantity

Loss = Literal["eager", "gathered", "compiled", "vocab_parallel", "fused", "half", "chunked"]
Partition = Literal["layers", "modules"]
NormKeeps = Literal["fused", "upcast", "float32"]

GIB = 2**30
# Reserved above allocated, from runs that print a reserved or total peak: the median over sources of what is measured
# above the parts that can be counted. 8 % for eager code with one kind of layer; 16 % where buckets, pipeline buffers
# and gradients of many sizes come and go (BLOOM's chronicles, nanotron, InternEvo). modded-nanogpt's logs, which print
# both figures, have 4 to 73 %.
FRAGMENTATION = Quantity(1.01, 1.08, 1.25)
FRAGMENTATION_MANY_BUFFERS = Quantity(1.03, 1.16, 1.35)
# NCCL's own buffers a communicator, from the difference of nvidia-smi and the allocator: 1 to 1.5 GiB for a job with
# data, tensor and pipeline groups (BigScience notes; torch.distributed on A100).
NCCL_FIRST_GROUP = Quantity(0.3 * GIB, 0.7 * GIB, 1.2 * GIB)
NCCL_FURTHER_GROUP = Quantity(0.1 * GIB, 0.3 * GIB, 0.6 * GIB)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryHabits:
    """Bytes are for each parameter that a rank has, or owns after sharding; see the module's docstring."""

    weight_bytes: float
    """The weights that a step reads; sharded by stage 3."""
    gradient_bytes: float
    """Gradients that exist when the backward pass is over; sharded from stage 2 on."""
    main_gradient_bytes: float = 0
    """A further float32 gradient that micro batches add to; sharded as the gradient."""
    optimizer_bytes: float
    """Master weights and two states of Adam; sharded from stage 1 on."""
    step_bytes: float = 0
    """Temporaries of the optimizer step, for each parameter that this rank updates."""
    step_buffer_bytes: float = 0
    """Buckets that exist in the optimizer step only."""
    buffer_bytes: float = 0
    """Buckets that exist all the time."""
    reduce_bytes: float = 2
    """An element of a gradient on its way through the network (sharded parameters)."""
    loss: Loss = "eager"
    logits_over_tp: bool = True
    """Whether each tensor-parallel rank has its part of the vocabulary only."""
    partition: Partition = "layers"
    """What a pipeline divides: layers, or every module, so that embedding and output matrix count as layers."""
    shards_ends: bool = False
    """Embedding and output matrix are sharded units of their own instead of one root unit that stays whole."""
    gathers_norm_output: bool = False
    """Sequence parallelism keeps the gathered inputs of matrix products instead of gathering them again."""
    norms: NormKeeps = "fused"
    autocast: bool = False
    """torch.autocast: float32 hidden states between layers, and 16-bit copies of weights while a step computes."""
    fuses_mlp: bool = False
    """Whether a kernel of its own computes activation times gate, which keeps its two inputs and its result only."""
    keeps_qkv: bool = False
    """Values are a view of the joint projection, which is kept whole beside the rotated queries and keys."""
    stage_outputs: int = 0
    """Hidden states that a pipeline stage keeps for each micro batch beside those of its layers."""
    fragmentation: Quantity = FRAGMENTATION
    source: str


_FLOAT32 = MemoryHabits(
    weight_bytes=4, gradient_bytes=4, optimizer_bytes=8,
    source="everything that lasts is float32; torch.optim.AdamW keeps two states",
)  # fmt: skip

HABITS: dict[str, MemoryHabits] = {
    "generic": replace(
        _FLOAT32, autocast=True, norms="upcast", step_bytes=4,
        source="torch.autocast: everything that lasts is float32; torch.optim.AdamW keeps two states, and takes one "
        "square root of all parameters at once (foreach)",
    ),
    "torchtitan": replace(
        _FLOAT32, reduce_bytes=4, gathers_norm_output=True,
        source="torchtitan, parallelize_llama.py: FSDP2 with float32 parameters, param_dtype bfloat16, reduce_dtype "
        "float32, AdamW; expandable segments",
    ),
    "llm-foundry": replace(
        _FLOAT32, loss="fused",
        source="llm-foundry, scripts/train/yamls: FSDP mixed_precision PURE, fused_crossentropy, decoupled AdamW",
    ),
    "maxtext": replace(_FLOAT32, loss="compiled", source="MaxText: float32 weights and states, sharded by XLA"),
    "modded-nanogpt": replace(_FLOAT32, loss="compiled", source="modded-nanogpt: train_gpt.py"),
    "megatron": MemoryHabits(
        weight_bytes=2, gradient_bytes=0, main_gradient_bytes=4, optimizer_bytes=12, loss="vocab_parallel",
        fuses_mlp=True,
        source="Megatron-LM, theoretical_memory_usage.py: 18 bytes, or 6 + 12/DP with the distributed optimizer",
    ),
    "nemo": MemoryHabits(
        weight_bytes=2, gradient_bytes=0, main_gradient_bytes=2, optimizer_bytes=12, loss="vocab_parallel",
        fuses_mlp=True,
        source="NeMo and Megatron-Bridge recipes: grad_reduce_in_fp32 = False, distributed optimizer",
    ),
    "megatron-deepspeed": MemoryHabits(
        weight_bytes=2, gradient_bytes=2, optimizer_bytes=12, step_bytes=6, buffer_bytes=2e9, loss="vocab_parallel",
        stage_outputs=3, fragmentation=FRAGMENTATION_MANY_BUFFERS,
        source="DeepSpeed 0.6, zero/stage_1_and_2.py: float16 partition is flattened, then copied to float32; "
        "reduce and all-gather buckets of 5e8 elements; pipe/engine.py keeps inputs and outputs of each buffer",
    ),
    "aleph-scaling": MemoryHabits(
        weight_bytes=2, gradient_bytes=2, optimizer_bytes=12, step_bytes=8, step_buffer_bytes=3e9,
        logits_over_tp=False, partition="modules", gathers_norm_output=True, norms="float32", loss="gathered",
        stage_outputs=1,
        source="Aleph Alpha, scaling/core/optimizer: bfloat16 flat weights and gradients, ZeRO-1 with float32 master "
        "weights, buckets of 5e8 elements reduced in float32; transformer/losses: logits gathered, float32",
    ),
    "nanotron": MemoryHabits(
        weight_bytes=2, gradient_bytes=2, main_gradient_bytes=4, optimizer_bytes=12, loss="vocab_parallel",
        partition="modules", stage_outputs=1, fragmentation=FRAGMENTATION_MANY_BUFFERS,
        source="nanotron, optim/gradient_accumulator.py: bfloat16 gradients are added to float32 ones; ZeRO-1 shards "
        "float32 masters and states",
    ),
    "internevo": MemoryHabits(
        weight_bytes=2, gradient_bytes=2, optimizer_bytes=12, step_bytes=10, buffer_bytes=1e9, loss="vocab_parallel",
        fragmentation=FRAGMENTATION_MANY_BUFFERS,
        source="InternEvo, solver/optimizer/hybrid_zero_optim.py: bfloat16 weights and gradients, float32 masters; the "
        "step flattens gradients, copies them to float32, and AdamW over all tensors at once takes one square root",
    ),
    "litgpt": MemoryHabits(
        weight_bytes=2, gradient_bytes=2, optimizer_bytes=4, loss="half", norms="upcast", keeps_qkv=True,
        source="LitGPT, precision bf16-true: litgpt/model.py (RMSNorm in float32, values a view of qkv), lora.py, "
        "adapter.py, adapter_v2.py; chunked cross-entropy of bfloat16 logits",
    ),
    "torchtune": MemoryHabits(
        weight_bytes=2, gradient_bytes=2, optimizer_bytes=4, loss="chunked", norms="upcast",
        shards_ends=True,
        source="torchtune recipes: dtype bf16, fused AdamW, CEWithChunkedOutputLoss; custom_sharded_layers: "
        "tok_embeddings, output",
    ),
}  # fmt: skip


def memory_habits(stack: str, *, precision: str = "bf16") -> MemoryHabits:
    """Return the habits of a stack; an unknown stack has those of ``generic``.

    >>> memory_habits("torchtitan").optimizer_bytes, memory_habits("my trainer").weight_bytes
    (8, 4)
    """
    habits = HABITS.get(stack, HABITS["generic"])
    if stack == "megatron-deepspeed" and precision == "bf16":
        # DeepSpeed's BF16_Optimizer: float32 gradients that add up, and nothing to copy in the step.
        return replace(habits, main_gradient_bytes=4, step_bytes=0)
    return habits
