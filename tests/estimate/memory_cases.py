"""Runs that several tests of memory share."""

from __future__ import annotations

from typing import Any

from trainworthy.estimate.memory_habits import memory_habits
from trainworthy.estimate.memory_input import MemoryInput
from trainworthy.estimate.model_dims import ModelDims
from trainworthy.hardware.rows import gpu_row

GPT3 = ModelDims(
    name="GPT-3", layers=96, hidden=12288, ffn_hidden=4 * 12288, heads=96, kv_heads=96, head_dim=128, vocabulary=51200,
    mlp="plain", norm="layer_norm", biases="all", output="tied", positions=2048, dropout=True,
)  # fmt: skip
LLAMA3_8B = ModelDims(
    name="llama3-8b", layers=32, hidden=4096, ffn_hidden=14336, heads=32, kv_heads=8, head_dim=128, vocabulary=128256,
    mlp="gated", norm="rms_norm",
)  # fmt: skip


def memory_run(model: ModelDims = LLAMA3_8B, *, stack: str = "megatron", **changes: Any) -> MemoryInput:
    """Describe a run of the stack on H100s; one GPU unless ``changes`` say otherwise."""
    fields: dict[str, Any] = {"seq_len": 8192, "micro_batch": 1, **changes}
    return MemoryInput(model=model, gpu=gpu_row("h100-sxm-80gb"), habits=memory_habits(stack), **fields)
