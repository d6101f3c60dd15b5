"""How a table counts FLOPs: predictions are turned into its own TFLOP/s and MFU, and its TFLOP/s into a step time.

Tables differ in the parameters of 6 N (in matrix products, or all), in causal attention (in full, or half), in whether
recomputation counts, and in the peak that they divide by. Which one a row means is read from its ``tflops_convention``
column, else from its stack; where both are printed (540 rows), the convention reproduces the table's MFU from its own
step time within 2 % in 528.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from trainworthy.estimate.run_config import RunConfig
from trainworthy.estimate.run_words import number
from trainworthy.hardware.rows import gpu_row

Formula = Literal["palm", "palm_all", "causal_half", "megatron", "weights"]
_LORA_SHARE = 2 / 3  # NVIDIA's tables: forward and the gradient of activations, without that of frozen weights


@dataclass(frozen=True, slots=True, kw_only=True)
class FlopConvention:
    """What one row counts as FLOPs, and divides by."""

    formula: Formula
    """``palm``: 6 N + 12 L h s with N in matrix products; ``palm_all``: with all parameters; ``causal_half``: as palm
    with half the attention; ``weights``: 6 N alone; ``megatron``: 72 (or 96) L h^2 (1 + s/6h + V/16Lh)."""
    counts_recompute: bool
    peak_of_precision: bool
    """Whether MFU of fp8 runs divides by the peak of fp8."""


def convention_of(row: Mapping[str, str], config: RunConfig) -> FlopConvention:
    """Return the convention of a row."""
    words = (row.get("tflops_convention") or "").casefold()
    hardware = "hardware" in words or "recompute counted" in words or "recompute included" in words
    if "96*b*s" in words or hardware or (config.stack == "megatron" and "printed" in words):
        return FlopConvention(formula="megatron", counts_recompute=True, peak_of_precision=False)
    url, finetunes = (row.get("source_url") or "").casefold(), config.task.casefold() in {"sft", "lora"}
    if config.stack == "nemo" and finetunes and (config.is_lora or "megatron-bridge" not in url):
        return FlopConvention(formula="weights", counts_recompute=False, peak_of_precision=True)
    own = config.stack in {"aleph-scaling", "llm-foundry"} or (config.stack == "torchtitan" and "fms-fsdp" not in url)
    if "6n+12" in words or own:
        return FlopConvention(formula="palm_all", counts_recompute=False, peak_of_precision=True)
    if "megatron-bridge" in url:
        return FlopConvention(formula="causal_half", counts_recompute=False, peak_of_precision=False)
    return FlopConvention(formula="palm", counts_recompute=False, peak_of_precision=config.stack in {"nemo", "maxtext"})


def flops_per_token(row: Mapping[str, str], config: RunConfig, convention: FlopConvention) -> float:
    """Return the FLOPs that the row counts for a token, forward and backward.

    Unit:     FLOP per token
    Exact?    as far as the row's convention is understood
    Source:   PaLM, appendix B; Narayanan et al. 2021; see `trainworthy.formulas.transformer`
    """
    model = config.model
    attention = 12.0 * model.layers * model.attention_width * config.seq_len
    if convention.formula == "megatron":
        hidden, layers = model.hidden, model.layers
        flops = (
            72.0
            * layers
            * hidden**2
            * (1 + config.seq_len / 6 / hidden + (model.vocabulary or 0) / 16 / layers / hidden)
        )
    elif convention.formula == "palm_all":
        stated = number(row.get("params_b"))
        flops = 6.0 * (stated * 1e9 if stated else model.parameters) + attention
    else:
        counted = {"causal_half": 0.5, "weights": 0.0}.get(convention.formula, 1.0)
        flops = 6.0 * model.active_matmul_parameters + attention * counted
    if convention.counts_recompute and config.checkpointing == "full":
        flops *= 4 / 3
    return flops * (_LORA_SHARE if config.is_lora else 1.0)


def peak_flops_per_s(config: RunConfig, convention: FlopConvention) -> float | None:
    """Return what the row's MFU divides by, in FLOP/s; None where the GPU's row has no such peak."""
    kind = "fp8" if convention.peak_of_precision and config.precision == "fp8" else "bf16"
    gpu = gpu_row(config.gpu.id)
    peak = gpu.peak_tflops(kind) or gpu.peak_tflops("fp16")
    if peak is None:
        return None
    # NVIDIA's recipes divide by 2450 and 4900 TFLOP/s on GB200, the data sheet has 2500 and 5000.
    return peak * 1e12 * (0.98 if config.stack == "nemo" and gpu.id.startswith("gb200") else 1.0)


def predicted_mfu(row: Mapping[str, str], config: RunConfig, *, step_s: float) -> float | None:
    """Return the MFU that the row would print for a step of that time."""
    convention = convention_of(row, config)
    peak = peak_flops_per_s(config, convention)
    if peak is None:
        return None
    if convention.counts_recompute:  # MFU is model FLOPs in every table; its TFLOP/s may not be
        convention = FlopConvention(formula=convention.formula, counts_recompute=False, peak_of_precision=False)
    rate = flops_per_token(row, config, convention) * config.step_tokens / step_s / config.num_gpus
    return rate / peak


def measured_step_s(row: Mapping[str, str], config: RunConfig) -> float | None:
    """Return the step time that a row states, or that its tokens/s or TFLOP/s imply; to compare, never to predict."""
    time = number(row.get("step_time_s"))
    if time:
        return time
    tokens = number(row.get("tokens_per_s_per_gpu"))
    share = config.step_tokens / config.num_gpus
    if tokens:
        return share / tokens
    rate = number(row.get("measured_tflops_per_gpu"))
    if rate:
        return flops_per_token(row, config, convention_of(row, config)) * share / (rate * 1e12)
    return None
