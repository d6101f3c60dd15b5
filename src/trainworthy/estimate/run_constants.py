"""The constants of a GPU generation and a training stack, from ``constants/``; each file says where they are from."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from typing import Any

from trainworthy.estimate.stacks import CONSTANTS
from trainworthy.hardware.gpu import Gpu
from trainworthy.hardware.toml import read_toml

GENERATIONS = CONSTANTS / "generations"
COMMON = CONSTANTS / "common" / "rates.toml"
ERRORS = CONSTANTS / "common" / "errors.toml"
_USUAL_GENERATION = "ampere"
_STAND_INS = {"pascal": "volta", "turing": "volta", "ada": "hopper"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """The numbers of the TOML files: shares of what a GPU's row states, and costs of software.

    A stack's file overrides those of a generation, and that those of ``common.toml``.
    """

    matmul: float
    """Large product / dense 16-bit peak, sustained in training (clocks drop under load)."""
    product_factor: float
    """What a stack's products reach on a generation / the generation's."""
    memory: float
    """Bandwidth of large elementwise kernels / data sheet."""
    flash: float
    """Flash attention 2, forward, head_dim 128, causal arithmetic / dense peak."""
    native_flash: float
    """Rate of kernels written for the generation (cuDNN, flash attention 3) / flash attention 2."""
    flash_backward: float
    """Rate of the backward kernel / forward."""
    flash_head_power: float
    """How the rate falls with head_dim below 128."""
    flash1: float
    """Rate of the first version of flash attention / the second."""
    low_precision_gain: float
    """Rate of fp8 products / bf16."""
    fp4_gain: float
    """Rate of fp4 products / bf16."""
    rowwise_power: float
    """Power of the gain of fp8 that scaling by rows keeps."""
    cast_passes: float
    """Passes over activations that casts to 8 bits add, of those counted in `layer_work`."""
    power_exponent: float
    """How the sustained rate follows the power limit of a variant."""
    passes: float
    """Bytes of elementwise work / those of fused kernels."""
    compiled_passes: float
    """The same with torch.compile / eager."""
    score_passes_fused: float
    """Passes over attention scores, forward, with a fused softmax."""
    score_passes_unfused: float
    """The same with separate kernels."""
    plain_norm_factor: float
    """Bytes of an RMS norm of separate kernels / fused."""
    expert_products: float
    """Rate of grouped products of experts / single products of their shapes."""
    host_layer_us: float
    """Time of the host to launch one layer's forward pass, without torch.compile."""
    compiled_host: float
    """The same with torch.compile / eager."""
    host_micro_us: float
    """Time of the host for a micro batch, besides layers."""
    step_ms: float
    """What a step costs besides: optimizer set-up, logging, gradient norm, data."""
    step_layer_ms: float
    """The same for each layer of the model: the host's work for its tensors (gradient norm, sharded optimizer)."""
    tp_exposed: float
    """Share of tensor-parallel communication that nothing hides."""
    dp_exposed: float
    """Share of gradient (and weight) communication that nothing hides."""
    fsdp_exposed: float
    """The same for gathers and scatters of fully sharded layers, which run beside other layers' work."""
    cp_exposed: float
    """The same for keys and values of context-parallel ranks."""
    optimizer_bytes: float
    """Bytes an optimizer step moves per parameter it updates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Constants:
    """`Rates` on one GPU, as rates with units."""

    rates: Rates
    matmul_flops_per_s: float
    memory_bytes_per_s: float
    flash_flops_per_s: float
    low_precision_gain: float


def constants_for(gpu: Gpu, *, precision: str, rates: Rates, usual_power_w: int | None = None) -> Constants:
    """Turn shares into rates on a GPU."""
    peak = gpu.peak_tflops("bf16" if precision in {"bf16", "fp8", "nvfp4"} else precision)
    peak = peak or gpu.peak_tflops("fp16") or gpu.peak_tflops("fp32") or 1.0
    power = 1.0
    if usual_power_w and gpu.power_w and gpu.power_w < usual_power_w:
        power = (gpu.power_w / usual_power_w) ** rates.power_exponent
    return Constants(
        rates=rates,
        matmul_flops_per_s=peak * 1e12 * rates.matmul * rates.product_factor * power,
        memory_bytes_per_s=gpu.memory_gb_per_s * 1e9 * rates.memory,
        flash_flops_per_s=peak * 1e12 * rates.flash * rates.product_factor * power,
        low_precision_gain=rates.fp4_gain if precision == "nvfp4" else rates.low_precision_gain,
    )


@cache
def rates_for(*, generation: str, stack: str) -> Rates:
    """Return the constants of a generation with those of the stack on it.

    A generation without a file has those of the nearest one that has; `unfitted_reason` says so.
    """
    numbers = _numbers(read_toml(COMMON))
    numbers |= _numbers(read_toml(GENERATIONS / f"{known_generation(generation)}.toml"))
    raw = read_toml(CONSTANTS / f"{stack}.toml")
    return Rates(**{**numbers, **_numbers(raw.get("all", {})), **_numbers(raw.get(generation, {}))})


def known_generation(generation: str) -> str:
    """Return the generation, or the one whose constants stand in for it."""
    if (GENERATIONS / f"{generation}.toml").is_file():
        return generation
    return _STAND_INS.get(generation, _USUAL_GENERATION)


def unfitted_reason(*, generation: str, stack: str) -> str | None:
    """Say why constants are not fitted for that pair; None if they are."""
    if known_generation(generation) != generation:
        return f"no constants for {generation}: those of {known_generation(generation)}"
    if generation not in read_toml(CONSTANTS / f"{stack}.toml"):
        return f"no measured runs of {stack} on {generation}: the constants of each"
    return None


@cache
def stored_error(*, generation: str, stack: str) -> float:
    """Return the error of nine in ten stored runs of that pair; for a pair without runs, of left-out sources."""
    errors = read_toml(ERRORS)
    return float(errors["fitted"].get(f"{stack} {generation}", errors["left_out"]))


def _numbers(raw: dict[str, Any]) -> dict[str, float]:
    names = {field.name for field in fields(Rates)}
    return {name: float(value) for name, value in raw.items() if name in names}
