"""Activations that a layer keeps for its backward pass, tensor by tensor, under checkpointing and parallelism."""

from __future__ import annotations

from typing import NamedTuple

from trainworthy.estimate.memory_input import MemoryInput

_STATISTIC_BYTES = 4  # one float32 a row: the log-sum-exp of fused attention


class LayerBytes(NamedTuple):
    """Bytes of one layer for one micro batch on one rank."""

    kept: float
    """From the forward to the backward pass."""
    recomputed: float
    """What checkpointing computes again while this layer's backward pass runs."""
    working: float
    """Gradients of activations that exist beside both."""


def layer_bytes(run: MemoryInput) -> LayerBytes:
    """Return what one layer keeps, computes again and needs beside.

    The parts, in elements a token (h hidden, a x d width of queries, kv width of keys, f of the MLP, t and s the
    degrees of tensor and sequence parallelism):

    - inputs of two norms 2 h / s, or with norms that work in float32: copies in float32 and the normalised values;
    - inputs of the products that follow 2 h / s;
    - queries, keys, values and the result of attention (2 a d + 2 kv) / t; unfused, the scores too;
    - MLP: 2 f / t plain, 4 f / t gated, of which compiled or fused kernels keep 3 f / t;
    - two dropout masks of one byte, h / s each, where the model has dropout.

    Source: Korthikanti et al. 2022, section 4; Llama and fused norms: the modules' autograd formulas (torch 2.13)
    """
    everything = _whole_region(run) + _tensor_region(run)
    working = run.tokens * run.element_bytes * (_mlp_width(run) * 2 / run.tp + 2 * run.model.hidden)
    inputs = run.tokens * run.model.hidden * residual_bytes(run) / sequence_degree(run)
    if run.checkpointing == "full":
        return LayerBytes(inputs, everything - inputs, working)
    if run.checkpointing == "layer":
        return LayerBytes((everything + inputs) / 2, everything - inputs, working)
    if run.checkpointing == "op":
        kept = inputs + _selected_outputs(run)
        return LayerBytes(min(kept, everything), max(everything - kept, 0.0), working)
    if run.checkpointing == "attention":
        scores = _scores(run)
        return LayerBytes(everything - scores, scores, working)
    return LayerBytes(everything, 0.0, working)


def sequence_degree(run: MemoryInput) -> int:
    """Return by how many ranks the sequence is divided outside of tensor-parallel products."""
    return run.tp if run.sequence_parallel else 1


def is_autocast(run: MemoryInput) -> bool:
    """Whether autocast computes in 16 bits on float32 weights; sharded weights are gathered in 16 bits instead."""
    return run.habits.autocast and run.element_bytes == 2 and run.zero_stage < 3 and run.adapters == "none"


def residual_bytes(run: MemoryInput) -> int:
    """Return the bytes of an element of the hidden states between layers."""
    return 4 if is_autocast(run) else run.element_bytes


def final_norm_bytes(run: MemoryInput) -> float:
    """Return what the norm before the output matrix keeps, and the input of that matrix."""
    product = run.element_bytes if _keeps_inputs(run) else 0
    return run.tokens * run.model.hidden * (_norm_bytes(run) + product) / sequence_degree(run)


def _whole_region(run: MemoryInput) -> float:
    """Norms, dropouts and the inputs of products: what tensor parallelism alone does not divide."""
    hidden, size = run.model.hidden, run.element_bytes
    shared = sequence_degree(run)
    of_norms = 2 * hidden * _norm_bytes(run)
    of_products = _product_inputs(run) * hidden * size if _keeps_inputs(run) else 0
    dropout = 2 * hidden if run.model.dropout else 0
    gathered = 1 if run.habits.gathers_norm_output else shared
    return run.tokens * ((of_norms + dropout) / shared + (of_products + _adapter_bytes(run)) / gathered)


def _product_inputs(run: MemoryInput) -> int:
    """Inputs of the products after the two norms: one each, but autocast casts the result of a norm for each product.

    Queries, keys and values of a gated model are products of their own, gate and up as well.
    """
    return 5 if is_autocast(run) and run.model.mlp == "gated" else 2


def _norm_bytes(run: MemoryInput) -> float:
    """What one norm keeps, a hidden element; frozen weights need no normalised values."""
    residual = residual_bytes(run)
    if run.norms == "fused" or run.model.norm == "layer_norm":
        return residual
    if run.norms == "float32" or run.adapters == "scale":  # scales of norms are trained too
        return 8
    return 4 if run.adapters != "none" else 4 + residual


def _keeps_inputs(run: MemoryInput) -> bool:
    """Whether inputs of products are kept: for the gradient of weights, and by bitsandbytes' 4-bit product always."""
    return run.adapters == "none" or run.quantized_bytes is not None


def _adapter_bytes(run: MemoryInput) -> float:
    """What adapters keep for a token.

    LoRA: the input of the low-rank product after dropout, and the dropout's mask (LitGPT, lora.py). Scales and biases:
    the output of every product before it is scaled (adapter_v2.py). A prefix of attention keeps nothing of note.
    """
    model, size = run.model, run.element_bytes
    if run.adapters == "lora":
        return model.hidden * (size + 1)
    if run.adapters == "scale":
        outputs = model.attention_width + 2 * model.kv_width + 2 * model.hidden
        return size * (outputs + (model.mlp_matrices - 1) * model.ffn_hidden)
    return 0.0


def _tensor_region(run: MemoryInput) -> float:
    model, size = run.model, run.element_bytes
    kv_width = model.kv_width / min(run.tp, model.kv_heads)
    attention = 2 * model.attention_width / run.tp + 2 * kv_width
    if run.habits.keeps_qkv:
        attention += model.attention_width / run.tp + kv_width
        attention += 0 if model.kv_heads == model.heads else 2 * (model.attention_width / run.tp - kv_width)
    statistics = _STATISTIC_BYTES * model.heads / run.tp
    return run.tokens * (size * attention + statistics + size * _mlp_elements(run)) + _scores(run)


def _mlp_width(run: MemoryInput) -> float:
    experts = run.model.experts
    if experts is None:
        return run.model.ffn_hidden
    width = experts.per_token * experts.ffn_hidden + experts.shared_ffn_hidden
    return (run.model.moe_layers * width + experts.dense_layers * run.model.ffn_hidden) / run.model.layers


def _mlp_elements(run: MemoryInput) -> float:
    copies = (3 if run.compiled or run.habits.fuses_mlp else 4) if run.model.mlp == "gated" else 2
    if not _keeps_inputs(run):
        copies -= 1  # the input of a frozen product is not needed
    dispatched = 0.0
    if run.model.experts is not None:  # tokens sent to experts, and what comes back
        dispatched = 2 * run.model.experts.per_token * run.model.hidden * run.model.moe_layers / run.model.layers
    return (copies * _mlp_width(run) + dispatched) / run.tp


def _scores(run: MemoryInput) -> float:
    """Scores after softmax, in float32 and cast again (eager), or once (fused softmax); masks with dropout."""
    if run.attention == "flash":
        return 0.0
    size = run.element_bytes
    each = size if run.attention == "fused" or size == 4 else 4 + size
    if run.model.dropout:
        each += size + 1
    return run.tokens * run.seq_len * run.model.heads / run.tp * each


def _selected_outputs(run: MemoryInput) -> float:
    """Outputs that selective checkpointing by operator keeps: attention, and every second matrix product.

    Source: torchtitan, parallelize_llama.py: of wq, wk, wv, wo, w1, w3, w2 the first, third, fifth and seventh
    """
    model = run.model
    kv_width = model.kv_width / min(run.tp, model.kv_heads)
    products = model.attention_width / run.tp + kv_width + _mlp_width(run) / run.tp
    products += model.hidden / sequence_degree(run)
    if model.mlp == "plain":
        products -= model.hidden / sequence_degree(run)
    attention = run.element_bytes * model.attention_width / run.tp + _STATISTIC_BYTES * model.heads / run.tp
    return run.tokens * (run.element_bytes * products + attention)
