"""Weights, gradients, optimizer states and buffers of one rank, under ZeRO or FSDP."""

from __future__ import annotations

from typing import Literal

from trainworthy.estimate.memory_input import MemoryInput
from trainworthy.estimate.memory_layers import is_autocast
from trainworthy.estimate.memory_stages import Stage

Moment = Literal["loading", "loss", "last layer", "backward", "step"]
Part = tuple[str, float, str]
"""Name, bytes, source."""

_ZERO = "Rajbhandari et al. 2020 (ZeRO), section 5; trainworthy.formulas.memory"
_FSDP = "Zhao et al. 2023 (PyTorch FSDP), sections 3.2 and 3.3: one unit computes while the next is gathered"


def state_parts(run: MemoryInput, stage: Stage, *, gradients: bool) -> list[Part]:
    """Return what lasts from step to step, and the gradients if they exist."""
    habits = run.habits
    if run.adapters != "none" or run.task == "inference":
        return _frozen_parts(run, stage, gradients=gradients)
    weights = _shared(run, stage, habits.weight_bytes, from_stage=3)
    grads = _shared(run, stage, habits.gradient_bytes, from_stage=2) if gradients else 0.0
    return [
        ("weights", weights, habits.source),
        ("gradients", grads, habits.source),
        ("main gradients", _shared(run, stage, habits.main_gradient_bytes, from_stage=2), habits.source),
        ("optimizer", _shared(run, stage, habits.optimizer_bytes, from_stage=1), _ZERO),
        ("buckets", habits.buffer_bytes if run.num_gpus > 1 else 0.0, habits.source),
    ]


def _frozen_parts(run: MemoryInput, stage: Stage, *, gradients: bool) -> list[Part]:
    """Adapters train in the type of the weights (PEFT, LitGPT, torchtune); the base has no gradient and no state.

    bitsandbytes computes with a weight of 4 bits by making it whole again; the output matrix is the largest of them.
    Two such copies are what inference alone shows beside the weights (LitGPT's table: 5 models within 2 %).
    """
    each = run.element_bytes
    quantized = run.quantized_bytes
    linear = stage.layers * stage.layer_parameters + stage.expert_parameters
    other = stage.embedding_parameters
    if run.quantizes_head:
        linear += stage.head_parameters
    else:
        other += stage.head_parameters
    base = linear * (each if quantized is None else quantized) + other * each
    share = run.trainable_parameters * stage.layers / run.model.layers / run.tp
    largest = stage.head_parameters if run.quantizes_head else run.model.hidden * run.model.ffn_hidden
    whole_again = 0 if quantized is None else 2 * each * largest
    if run.task == "inference":
        share = 0
    return [
        ("weights", base / _ranks(run, 3) + share * each, "frozen base weights and adapters"),
        ("gradients", share * each if gradients else 0.0, "adapters only"),
        ("optimizer", share * 2 * each / _ranks(run, 1), "two states of Adam in the type of the adapters"),
        ("dequantized", whole_again, "bitsandbytes, autograd/_functions.py: MatMul4Bit"),
    ]


def cast_weight_bytes(run: MemoryInput, stage: Stage) -> float:
    """Return the 16-bit copies of matrices that autocast makes in the forward pass and the backward pass needs."""
    if not is_autocast(run):
        return 0.0
    head = stage.head_parameters if run.model.output == "untied" or run.pp > 1 else stage.embedding_parameters
    return run.element_bytes * (stage.layers * stage.layer_parameters + stage.expert_parameters + head)


def step_parts(run: MemoryInput, stage: Stage) -> list[Part]:
    """Return what the optimizer step needs beside."""
    if run.adapters != "none":
        return []
    temporary = _shared(run, stage, run.habits.step_bytes, from_stage=1)
    buckets = run.habits.step_buffer_bytes if run.num_gpus > 1 else 0.0
    return [("optimizer step", temporary, run.habits.source), ("step buckets", buckets, run.habits.source)]


def fsdp_parts(run: MemoryInput, stage: Stage, moment: Moment) -> list[Part]:
    """Return gathered units and whole gradients of a unit, for sharded weights; nothing below stage 3.

    The root unit, embedding and output matrix, is whole from the forward pass on. In a layer's backward pass two
    layers are whole, and the gradients of the output matrix wait for the root's turn; from the second layer on, the
    gradients of the layer before are on their way.
    """
    if run.zero_stage < 3 or run.shard_ranks == 1:
        return []
    layer = stage.layer_parameters + (stage.expert_parameters / stage.layers if stage.layers else 0)
    root = stage.embedding_parameters + stage.head_parameters
    head = stage.head_parameters
    size = run.element_bytes
    if run.pp > 1:
        return _kept_whole(run, stage)
    if run.habits.shards_ends:
        root, head = (head if moment == "loss" else 0.0), 0.0
    if moment == "loss":
        return [("gathered weights", root * size, _FSDP)]
    parts = [("gathered weights", (root + 2 * layer) * size, _FSDP)]
    if run.adapters == "none":
        on_their_way = layer * (size + run.habits.reduce_bytes) if moment == "backward" else 0.0
        parts.append(("whole gradients", on_their_way + head * size, _FSDP))
    return parts


def _kept_whole(run: MemoryInput, stage: Stage) -> list[Part]:
    """In a pipeline weights stay gathered over all micro batches, and gradients add up whole before they are reduced.

    Source: torchtitan, parallelize_llama.py: reshard_after_forward is off with pipeline parallelism; gradients that
    are not reduced yet are kept in the type of the reduction (torch.distributed.fsdp, _fsdp_param.py)
    """
    whole = stage.parameters
    parts = [("gathered weights", whole * run.element_bytes, _FSDP)]
    if run.adapters == "none":
        parts.append(("whole gradients", whole * run.habits.reduce_bytes, _FSDP))
    return parts


def _shared(run: MemoryInput, stage: Stage, each: float, *, from_stage: int) -> float:
    """Bytes a rank keeps of ``each`` a parameter; experts are sharded over the ranks that have the same ones."""
    ranks = _ranks(run, from_stage)
    experts = max(ranks // run.ep, 1)
    return each * (stage.dense_parameters / ranks + stage.expert_parameters / experts)


def _ranks(run: MemoryInput, from_stage: int) -> int:
    return run.shard_ranks if run.zero_stage >= from_stage else 1
