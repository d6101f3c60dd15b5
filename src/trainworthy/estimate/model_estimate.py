"""The analytic estimate of a run (`model_run`) as an estimate like that of a script, with what would help."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from trainworthy.errors import TrainworthyError
from trainworthy.estimate.amounts import Amounts
from trainworthy.estimate.definitions import DEFINITIONS
from trainworthy.estimate.energy import ENERGY_NOTE, gpu_power_w, kwh, money
from trainworthy.estimate.model_run import ModelRun, model_run
from trainworthy.estimate.result import BoundBy, Estimate, WhatIf
from trainworthy.estimate.run_config import RunConfig
from trainworthy.estimate.run_constants import unfitted_reason
from trainworthy.estimate.totals import run_totals
from trainworthy.estimate.workload import Workload

__all__ = ["estimate_of_model"]


def estimate_of_model(run: ModelRun, *, amounts: Amounts, what_ifs: bool = True) -> Estimate:
    """Turn an analytic run into an estimate."""
    config, memory, step_s = run.config, run.memory, run.time.step_s
    bounds = _bound_by(run)
    power = gpu_power_w(bounds, limit_w=config.gpu.power_w)
    gpus = config.num_gpus
    tokens = float(config.step_tokens)
    found = Estimate(
        gpu=config.gpu.id, gpu_name=config.gpu.name, mode="compiled" if config.compiled else "eager", source="model",
        script=config.model.name, arguments=_layout(config), world_size=gpus, gpus_per_node=config.gpus_per_node,
        band=_band(run), step_time_s=step_s, peak_memory_bytes=memory.reserved, peak_memory_kind="reserved",
        allocated_memory_bytes=memory.allocated, needed_memory_bytes=memory.device,
        driver_memory_bytes=memory.memory_bytes, fits=memory.fits, samples_per_step=float(config.global_batch),
        tokens_per_step=tokens, samples_per_s=run.samples_per_s, tokens_per_s=step_s.per(tokens),
        tokens_per_s_per_gpu=run.time.tokens_per_s_per_gpu, model_flops_per_step=run.model_flops,
        flops_per_step=run.hardware_flops, model_tflops_per_gpu=run.model_tflops_per_gpu, mfu=run.mfu, hfu=run.hfu,
        peak_tflops=None if run.peak_flops_per_s is None else run.peak_flops_per_s / 1e12, peak_unit=config.precision,
        energy_kwh_per_step=kwh(power, step_s, gpus=gpus), power_w=power, price_per_hour=amounts.price_per_hour,
        money_per_step=money(step_s, price_per_hour=amounts.price_per_hour, gpus=gpus),
        totals=run_totals(
            amounts, power, step_s, Workload(samples=float(config.global_batch), tokens=tokens), gpus=gpus
        ),
        bound_by=bounds, definitions=DEFINITIONS,
        assumptions=list(dict.fromkeys((*config.assumptions, *run.time.assumptions, ENERGY_NOTE))),
    )  # fmt: skip
    return replace(found, what_ifs=_what_ifs(run)) if what_ifs else found


def _bound_by(run: ModelRun) -> BoundBy:
    shares = run.time.bound_by
    return BoundBy(
        # What a step costs once, whatever its size, is work of the host: launches of the optimizer, bookkeeping.
        compute=shares["compute"], memory=shares["memory"], latency=0.0, host=shares["host"] + shares["fixed"],
        network=shares["network"], bubble=shares["bubble"],
    )  # fmt: skip


def _band(run: ModelRun) -> str:
    config = run.config
    if unfitted_reason(generation=config.generation, stack=config.stack):
        return (
            f"no published run of {config.stack} on {config.generation} GPUs is stored; for software that constants "
            f"were not fitted to, nine in ten were predicted within {100 * run.time.error_p90:.0f} % "
            "(docs/published-runs.md; --stack names the software)"
        )
    return (
        f"nine in ten published runs of {config.stack} on {config.generation} GPUs were predicted within "
        f"{100 * run.time.error_p90:.0f} % (docs/published-runs.md)"
    )


def _layout(config: RunConfig) -> list[str]:
    words = [f"seq {config.seq_len}", f"batch {config.global_batch}", f"micro {config.micro_batch}", f"dp {config.dp}"]
    words += [f"{name} {getattr(config, name)}" for name in ("tp", "pp", "cp", "ep") if getattr(config, name) > 1]
    if config.zero_stage:
        words.append(f"ZeRO {config.zero_stage}")
    return [*words, config.precision, f"checkpointing {config.checkpointing}"]


# --- what would help ----------------------------------------------------------------------------------------------


def _what_ifs(run: ModelRun) -> tuple[WhatIf, ...]:
    found = []
    for name, title, how, config in _changes(run.config):
        try:
            other = model_run(config)
        except (TrainworthyError, ArithmeticError):  # a layout that cannot be is no advice
            continue
        before = run.time.step_s.expected / run.config.step_tokens
        after = other.time.step_s.expected / config.step_tokens
        speedup = before / after
        change = round(other.memory.device.expected - run.memory.device.expected)
        if speedup < 1.005 and change > -0.02 * run.memory.device.expected:
            continue
        found.append(
            WhatIf(
                name=name, title=title, step_s=other.time.step_s.expected, speedup=speedup, memory_change_bytes=change,
                fits=other.memory.fits, origin="model", how=how, note="the same model with that layout",
            )
        )  # fmt: skip
    return tuple(sorted(found, key=lambda each: (-round(each.speedup, 2), each.memory_change_bytes or 0)))


def _changes(config: RunConfig) -> Iterator[tuple[str, str, str, RunConfig]]:
    for kind in ("none", "selective", "full"):
        if kind != config.checkpointing:
            yield ("checkpointing", f"{kind} activation checkpointing", f"--checkpointing {kind}",
                   replace(config, checkpointing=kind, selection=None))  # fmt: skip
    double = 2 * config.micro_batch
    if config.grad_accumulation > 1 and config.grad_accumulation % 2 == 0:
        yield ("micro_batch", f"micro-batch {double}", f"--micro-batch {double}", replace(config, micro_batch=double))
    yield ("global_batch", f"global batch {2 * config.global_batch:,}", f"--global-batch {2 * config.global_batch}",
           replace(config, global_batch=2 * config.global_batch))  # fmt: skip
    if config.dp > 1 and config.zero_stage < 3:
        stage = 3 if config.zero_stage else 1
        yield ("zero", f"ZeRO stage {stage}", f"--zero-stage {stage}",
               replace(config, zero_stage=stage, shard_ranks=config.dp * config.cp))  # fmt: skip
    if not config.compiled:
        yield "compile", "torch.compile", "compile the model", replace(config, compiled=True)
    if config.precision == "bf16" and config.gpu.peak_tflops("fp8"):
        yield "fp8", "fp8 products", "--precision fp8", replace(config, precision="fp8")
