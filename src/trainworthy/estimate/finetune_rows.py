"""Finetuning of language models on one GPU, as tables with the columns of ``single_gpu.csv`` describe it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from trainworthy.errors import UnknownGpuError, UsageError
from trainworthy.estimate.analytic_memory import estimate_memory
from trainworthy.estimate.memory_habits import FRAGMENTATION, MemoryHabits, memory_habits
from trainworthy.estimate.memory_input import Adapters, MemoryInput
from trainworthy.estimate.model_dims import ModelDims
from trainworthy.estimate.model_rows import model_row_or_none
from trainworthy.estimate.run_gpu import run_gpu
from trainworthy.estimate.run_words import number, whole_number
from trainworthy.hardware.gpu import Gpu

MEASURED_COLUMNS = ("throughput", "step_time_ms", "tflops", "peak_memory_gb", "status")
"""Results; never an input."""

# bitsandbytes: 4 bits, and a float32 scale for 64 of them; with double quantization the scales take 8 bits, and one
# float32 for 256 of those.
QUANTIZED_BYTES = {"nf4": 0.5 + 4 / 64, "fp4": 0.5 + 4 / 64, "nf4-dq": 0.5 + 1 / 64 + 4 / (64 * 256),
                   "fp4-dq": 0.5 + 1 / 64 + 4 / (64 * 256)}  # fmt: skip
# bitsandbytes, optim: 8-bit states with a float32 scale for 256 values.
_STATES_8BIT = 2 * (1 + 4 / 256)


def finetune_model(row: Mapping[str, str]) -> ModelDims | None:
    """Return the language model that a row names, or None if it names none that is known."""
    return model_row_or_none(re.sub(r"\(.*\)", "", row.get("model", "")).strip())


def memory_input_from_row(row: Mapping[str, str]) -> MemoryInput:
    """Read a row of a table with the columns of ``single_gpu.csv``; measured columns are not read.

    Raises:
        UsageError: If the model is not known, or its method or a size cannot be read.
    """
    row = {name: (value or "").strip() for name, value in row.items() if name and name not in MEASURED_COLUMNS}
    model = finetune_model(row)
    if model is None:
        raise UsageError(f"No language model is known as {row.get('model', '')!r}.", fix="See estimate/models/.")
    gpu = _gpu(row)
    num_gpus = whole_number(row.get("num_gpus")) or 1
    batch = whole_number(row.get("batch_per_gpu"))
    sequence = re.match(r"\d+", row.get("seq_len_or_img", ""))
    common: dict[str, Any] = {
        "model": model, "gpu": gpu, "micro_batch": batch or 1, "num_gpus": num_gpus,
        "seq_len": int(sequence[0]) if sequence else 1, "micro_batches": whole_number(row.get("grad_accum")) or 1,
    }  # fmt: skip
    framework = row.get("framework", "").casefold()
    if "litgpt" in framework or "lit-gpt" in framework:
        return _litgpt(row, common, is_training=batch is not None)
    if "torchtune" in framework:
        return _torchtune(row, common)
    return _autocast(row, common)


def _gpu(row: Mapping[str, str]) -> Gpu:
    """Tables leave out how NVIDIA's drivers begin a name: "RTX 4090" for "NVIDIA GeForce RTX 4090"."""
    text = re.sub(r"\(.*\)", "", row.get("gpu", "")).strip()
    for start in ("", "NVIDIA ", "NVIDIA GeForce "):
        try:
            return run_gpu(start + text, memory_gb=number(row.get("gpu_memory_gb", ""))).gpu
        except UnknownGpuError:
            continue
    return run_gpu(text).gpu


def _litgpt(row: Mapping[str, str], common: dict[str, Any], *, is_training: bool) -> MemoryInput:
    method = row.get("method", "")
    word = method.split(";")[0].strip()
    adapters: Adapters = {"lora": "lora", "adapter": "prefix", "adapter_v2": "scale"}.get(word, "none")  # type: ignore[assignment]
    trainable = re.search(r"trainable ([\d,]+)", method)
    many = common["num_gpus"] > 1
    # LitGPT on several GPUs: FSDP over layers, with full activation checkpointing (litgpt/finetune/lora.py).
    return MemoryInput(
        **common, habits=memory_habits("litgpt"), norms="upcast", adapters=adapters, quantized_bytes=_quantized(method),
        trainable_parameters=int(trainable[1].replace(",", "")) if trainable else 0,
        task="train" if is_training else "inference", zero_stage=3 if many else 0,
        shard_ranks=common["num_gpus"], checkpointing="full" if many else "none", loads_whole=many,
    )  # fmt: skip


def _torchtune(row: Mapping[str, str], common: dict[str, Any]) -> MemoryInput:
    """Single-device and distributed recipes of torchtune, and its README's ladder of what saves memory.

    Where checkpointing is not stated it is on if the run would not fit without: that is how its recipes for small
    and for large GPUs differ. A full finetuning on one GPU pages 8-bit states to the host and steps in the backward
    pass (8B_full_single_device.yaml).
    """
    method = row.get("method", "").casefold()
    is_ladder = method.startswith("+")
    habits = memory_habits("torchtune")
    if is_ladder and "chunked" not in method and "8-bit" not in method:
        habits = replace(habits, loss="eager")
    if common["num_gpus"] == 1 and (method == "full" or "8-bit" in method):
        habits = replace(habits, optimizer_bytes=_STATES_8BIT if "8-bit" in method else 0, gradient_bytes=0)
    compiled = "compile" in row.get("compile", "").casefold()
    run = MemoryInput(
        **common, habits=_offloaded(habits, method), compiled=compiled, norms="fused" if compiled else "upcast",
        adapters="lora" if "lora" in method else "none",
        quantized_bytes=QUANTIZED_BYTES["nf4-dq"] if "qlora" in method else None, quantizes_head=False,
        trainable_parameters=_torchtune_lora(common["model"]) if "lora" in method else 0,
        zero_stage=3 if common["num_gpus"] > 1 else 0, shard_ranks=common["num_gpus"],
    )  # fmt: skip
    stated = row.get("activation_checkpointing", "")
    recomputes = stated.startswith("full") if stated else estimate_memory(run).fits == "no"
    return replace(run, checkpointing="full") if recomputes else run


def _offloaded(habits: MemoryHabits, method: str) -> MemoryHabits:
    if "offload" not in method:
        return habits
    return replace(habits, weight_bytes=0, gradient_bytes=0, optimizer_bytes=0)


def _torchtune_lora(model: ModelDims, rank: int = 8) -> int:
    """Rank 8 at queries, values and the output of attention and at the MLP, as the recipes of Llama 3 have it."""
    attention = 2 * (model.hidden + model.attention_width) + model.hidden + model.kv_width
    return model.layers * rank * (attention + model.mlp_matrices * (model.hidden + model.ffn_hidden))


def _autocast(row: Mapping[str, str], common: dict[str, Any]) -> MemoryInput:
    """Hugging Face's Trainer and plain PyTorch: float32, or torch.autocast."""
    words = row.get("precision", "").casefold()
    is_float32 = words.startswith(("fp32", "tf32", "float32"))
    habits = replace(memory_habits("generic"), fragmentation=FRAGMENTATION)
    return MemoryInput(
        **common, habits=habits, element_bytes=4 if is_float32 else 2, attention="unfused",
        checkpointing="full" if row.get("activation_checkpointing", "") in {"yes", "full", "true"} else "none",
    )  # fmt: skip


def _quantized(method: str) -> float | None:
    found = re.search(r"(nf4|fp4)(-dq)?", method)
    return None if found is None else QUANTIZED_BYTES[found[0]]
