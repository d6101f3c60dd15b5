"""Step time of a transformer training run from its sizes and layout; no tape, no torch, well under 50 ms.

A micro batch on a stage costs its layers (`layer_work`) with their tensor-parallel collectives, and no less than the
host needs to launch them. The stages of a pipeline run 1F1B, interleaved where the run says so. Gradients are reduced,
weights gathered, and the optimizer steps once. What of the communication is hidden is a constant of the stack.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from trainworthy.estimate.layer_work import Seconds, layer_times, product_s
from trainworthy.estimate.quantity import Quantity
from trainworthy.estimate.run_communication import (
    RunSetup,
    data_parallel_s,
    layer_s,
    topology_of,
    transfers_s,
    updated_parameters,
)
from trainworthy.estimate.run_config import RunConfig
from trainworthy.estimate.run_constants import (
    Constants,
    Rates,
    constants_for,
    rates_for,
    stored_error,
    unfitted_reason,
)
from trainworthy.hardware.rows import gpu_row

_EXPERTS_HOST = 2.5
"""Launches of a layer with experts / without: router, sorting of tokens, exchanges, grouped products."""
_LOSS_BYTES = 22.0
"""Bytes moved for each logit: in 16 bits, copied to fp32, softmax and its gradient (2 + 4 + 4 x 4)."""
_COMPILED_LOSS_BYTES = 12.0
"""The same where one kernel reads 16 bits for the sum and one for the gradient, and writes it (2 + 2 x 4 + 2)."""


class Parts(NamedTuple):
    """What a step's time is made of, in seconds; they add up to the step."""

    compute_s: float
    memory_s: float
    host_s: float
    network_s: float
    bubble_s: float
    fixed_s: float

    @property
    def total_s(self) -> float:
        """Return the time of the step."""
        return sum(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pass:
    """One pass of a micro batch through the layers of a stage."""

    compute_s: float
    memory_s: float
    host_s: float
    network_s: float

    @property
    def total_s(self) -> float:
        return self.compute_s + self.memory_s + self.host_s + self.network_s


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTime:
    """The step time of a run, and what it implies."""

    step_s: Quantity
    parts: Parts
    tokens_per_s_per_gpu: Quantity
    assumptions: tuple[str, ...]
    """What the run's description did not say, and whether constants were fitted to such runs."""
    error_p90: float
    """Nine in ten of the stored runs of this kind were predicted within this share (docs/published-runs.md)."""

    @property
    def bound_by(self) -> dict[str, float]:
        """Shares of the step: compute, memory, host, network, bubble, fixed; they add up to 1."""
        total = self.parts.total_s
        return {name.removesuffix("_s"): value / total for name, value in self.parts._asdict().items()}


def estimate_run_time(config: RunConfig) -> RunTime:
    """Return the step time of a run with the range that stored errors of such predictions give.

    Unit:     s
    Exact?    a model: the range holds nine in ten of the published runs of the same kind
    Source:   `run_parts`; errors in ``constants/common/errors.toml``, written by ``benchmarks.published_runs``
    """
    parts = run_parts(config)
    reason = unfitted_reason(generation=config.generation, stack=config.stack)
    error = stored_error(generation=config.generation, stack=config.stack)
    step = Quantity(parts.total_s * (1 - error), parts.total_s, parts.total_s * (1 + error))
    return RunTime(
        step_s=step, parts=parts, tokens_per_s_per_gpu=step.per(config.step_tokens / config.num_gpus),
        assumptions=(*config.assumptions, *([reason] if reason else [])), error_p90=error,
    )  # fmt: skip


def run_parts(config: RunConfig, rates: Rates | None = None) -> Parts:
    """Return the expected step time of a run, by what it is spent on.

    Unit:     s
    Exact?    a model, see the module's docstring and docs/published-runs.md for its error by source
    Source:   the pieces say theirs
    """
    rates = rates or rates_for(generation=config.generation, stack=config.stack)
    usual_power_w = gpu_row(config.gpu.id).power_w
    constants = constants_for(config.gpu, precision=config.precision, rates=rates, usual_power_w=usual_power_w)
    run = RunSetup(config=config, rates=rates, constants=constants, topology=topology_of(config))
    stage, micro_batches = _stage(run), config.grad_accumulation
    parts = _pipeline(run, stage, _ends(config, constants), micro_batches)
    shared_s = data_parallel_s(run, work_s=stage.total_s, micro_batches=micro_batches)
    optimizer_s = rates.optimizer_bytes * updated_parameters(config) / constants.memory_bytes_per_s
    return parts._replace(
        network_s=parts.network_s + shared_s, memory_s=parts.memory_s + optimizer_s,
        fixed_s=(rates.step_ms + rates.step_layer_ms * config.model.layers / config.pp) / 1e3,
    )  # fmt: skip


def _stage(run: RunSetup) -> _Pass:
    """All layers of a pipeline stage, forward and backward, for one micro batch."""
    config, rates = run.config, run.rates
    layer, layers = layer_times(config, run.constants), config.model.layers / config.pp
    work = layer.forward.plus(layer.backward).plus(layer.recomputed)
    again = layer.recomputed.total_s > 0.5 * layer.forward.total_s
    host = rates.host_layer_us / 1e6 * (2 + again) * (rates.compiled_host if config.compiled else 1.0)
    host *= 1 + (_EXPERTS_HOST - 1) * config.model.moe_layers / config.model.layers
    network = layer_s(run, again=again)
    # The GPU waits for the host where kernels are shorter than launches; collectives are kernels too.
    waiting = _soft_max(work.total_s + network, host) - work.total_s - network
    return _Pass(
        compute_s=layers * work.compute_s, memory_s=layers * work.memory_s, host_s=layers * waiting,
        network_s=layers * network,
    )  # fmt: skip


def _soft_max(one: float, other: float) -> float:
    """Both limits are felt near where they cross: some layers' kernels are long and some short."""
    return float((one**4 + other**4) ** 0.25)


def _ends(config: RunConfig, constants: Constants) -> Seconds:
    """Time of embedding, last norm, logits and loss for one micro batch, forward and backward."""
    model, tokens = config.model, config.micro_batch_tokens
    vocabulary = (model.vocabulary or 0) / config.tp
    if not vocabulary:
        return Seconds()
    products = product_s(tokens, vocabulary, model.hidden, config=_sixteen_bits(config), constants=constants)
    logits_bytes = (_COMPILED_LOSS_BYTES if config.compiled else _LOSS_BYTES) * tokens * vocabulary
    embedding_bytes = 12.0 * tokens * model.hidden
    memory = (logits_bytes + embedding_bytes) / constants.memory_bytes_per_s
    return Seconds(products * (2 if config.is_lora else 3), memory)


def _sixteen_bits(config: RunConfig) -> RunConfig:
    """The output layer stays in 16 bits where layers use 8."""
    return replace(config, precision="bf16") if config.precision in {"fp8", "nvfp4"} else config


def _pipeline(run: RunSetup, stage: _Pass, ends: Seconds, micro_batches: int) -> Parts:
    """All micro batches through a stage that has its share of the ends, and the bubble of 1F1B.

    The last stage has the logits and so decides the pace of all; the bubble is filled and emptied at the mean pace.
    """
    config, rates = run.config, run.rates
    host_s = rates.host_micro_us / 1e6 * (rates.compiled_host if config.compiled else 1.0)
    transfer_s, chunks = transfers_s(run), max(1, config.interleave)
    mean_s = stage.total_s + ends.total_s / config.pp
    return Parts(
        compute_s=micro_batches * (stage.compute_s + ends.compute_s),
        memory_s=micro_batches * (stage.memory_s + ends.memory_s),
        host_s=micro_batches * (stage.host_s + host_s),
        network_s=micro_batches * (stage.network_s + transfer_s * chunks),
        bubble_s=(config.pp - 1) / chunks * (mean_s + transfer_s),
        fixed_s=0.0,
    )
