"""Finetuning on one GPU: rows as LitGPT and torchtune print them, with what they measured."""

from __future__ import annotations

import pytest

from trainworthy.errors import UsageError
from trainworthy.estimate.analytic_memory import estimate_memory
from trainworthy.estimate.finetune_rows import memory_input_from_row

LITGPT = {"gpu": "A100 SXM4", "gpu_memory_gb": "40", "num_gpus": "1", "precision": "bf16-true", "framework": "LitGPT"}


@pytest.mark.parametrize(
    ("model", "method", "batch", "sequence", "measured_gb"),
    [  # Lightning-AI/litgpt, tutorials/resource-tables.md (LitGPT 8641822, torch 2.1.0)
        ("Llama 2 7 B", "lora; quant None; trainable None", "", "1304", 13.52),
        ("Llama 2 7 B", "lora; quant bnb.nf4; trainable None", "", "1304", 4.57),
        ("Llama 2 7 B", "adapter; quant None; trainable 1,229,760", "1", "1304", 19.98),
        ("StableLM Alpha 3 B", "lora; quant None; trainable 2,097,152", "4", "1034", 16.92),
    ],
)
def test_litgpt_within_5_percent(model: str, method: str, batch: str, sequence: str, measured_gb: float) -> None:
    row = {**LITGPT, "model": model, "method": method, "batch_per_gpu": batch, "seq_len_or_img": sequence}
    found = estimate_memory(memory_input_from_row(row))
    assert found.allocated.expected / 1e9 == pytest.approx(measured_gb, rel=0.05)


def test_what_ran_out_of_memory_does_not_fit() -> None:
    row = {**LITGPT, "model": "Llama 2 13 B", "method": "lora; quant None; trainable 6,553,600", "batch_per_gpu": "4",
           "seq_len_or_img": "1304"}  # fmt: skip
    assert estimate_memory(memory_input_from_row(row)).fits == "no"


def test_torchtune_recomputes_where_it_would_not_fit_otherwise() -> None:
    row = {
        "model": "Llama 3.1 8B", "gpu": "RTX 4090", "num_gpus": "1", "precision": "bf16", "framework": "torchtune",
        "batch_per_gpu": "2", "seq_len_or_img": "2048 packed", "method": "LoRA", "compile": "torch.compile",
    }  # fmt: skip
    assert memory_input_from_row(row).checkpointing == "full"
    assert memory_input_from_row({**row, "gpu": "RTX A6000"}).checkpointing == "none"


def test_measured_columns_are_not_read() -> None:
    row = {**LITGPT, "model": "Llama 2 7 B", "method": "lora; quant None; trainable 1", "batch_per_gpu": "1",
           "seq_len_or_img": "1304"}  # fmt: skip
    measured = {**row, "peak_memory_gb": "1", "status": "oom", "throughput": "3"}
    assert memory_input_from_row(measured) == memory_input_from_row(row)


def test_unknown_models_are_named() -> None:
    with pytest.raises(UsageError, match="ResNet-50"):
        memory_input_from_row({**LITGPT, "model": "ResNet-50"})
