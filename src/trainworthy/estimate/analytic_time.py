"""Step time of a transformer training run from its sizes and layout; no tape, no torch, well under 50 ms.

A micro batch on a stage costs its layers (`layer_work`) with their tensor-parallel collectives, and no less than the
host needs to launch them. The stages of a pipeline run 1F1B, interleaved where the run says so. Gradients are reduced,
weights gathered, and the optimizer steps once. What of the communication is hidden is a constant of the stack.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from trainworthy.estimate.layer_work import LayerTimes, Seconds, layer_times, product_s
from trainworthy.estimate.network import Topology, collective_s, message_s
from trainworthy.estimate.run_config import RunConfig
from trainworthy.estimate.run_constants import Constants, Rates, constants_for, rates_for
from trainworthy.estimate.stacks import stack_row
from trainworthy.hardware.rows import gpu_row

_ROW_BYTES = 2  # activations and weights travel in 16 bits
_HOST_BACKWARD = 1.0
"""Launches of a backward pass / forward: the autograd engine launches more kernels, from C++."""


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


def run_parts(config: RunConfig, rates: Rates | None = None) -> Parts:
    """Return the expected step time of a run, by what it is spent on.

    Unit:     s
    Exact?    a model, see the module's docstring and docs/published-runs.md for its error by source
    Source:   the pieces say theirs
    """
    rates = rates or rates_for(generation=config.generation, stack=config.stack)
    constants = constants_for(
        config.gpu, precision=config.precision, rates=rates, usual_power_w=gpu_row(config.gpu.id).power_w
    )  # fmt: skip
    topology = Topology(
        domain=config.nvlink_domain, inside_gb_per_s=_inside_gb_per_s(config),
        between_gb_per_s=config.network_gb_per_s, node=config.gpus_per_node, switched=config.switched,
    )  # fmt: skip
    layer = layer_times(config, constants)
    stage_layers = config.model.layers / config.pp
    stage = _stage(config, rates, layer, topology, stage_layers)
    ends = _ends(config, constants)
    micro = config.grad_accumulation
    times = _pipeline(config, rates, stage, ends, topology, micro)
    shared = _data_parallel_s(config, rates, stage, topology, micro)
    optimizer = rates.optimizer_bytes * _updated_parameters(config) / constants.memory_bytes_per_s
    return times._replace(
        network_s=times.network_s + shared, memory_s=times.memory_s + optimizer, fixed_s=rates.step_ms / 1e3
    )


def _inside_gb_per_s(config: RunConfig) -> float:
    link = config.gpu.gpu_link or config.gpu.host_link
    return link.gb_per_s_per_direction if link else 16.0


def _stage(
    config: RunConfig, rates: Rates, layer: LayerTimes, topology: Topology, stage_layers: float
) -> _Pass:  # fmt: skip
    work = layer.forward.plus(layer.backward).plus(layer.recomputed)
    again = layer.recomputed.total_s > 0.5 * layer.forward.total_s
    host = rates.host_layer_us / 1e6 * (1 + _HOST_BACKWARD + again) * (rates.compiled_host if config.compiled else 1.0)
    tensor = _tensor_parallel_s(config, topology, again=again) * rates.tp_exposed
    network = tensor + rates.cp_exposed * _context_parallel_s(config, topology) + _expert_parallel_s(config, topology)
    # The GPU waits for the host where kernels are shorter than launches; collectives are kernels too.
    waiting = _soft_max(work.total_s + network, host) - work.total_s - network
    return _Pass(
        compute_s=stage_layers * work.compute_s, memory_s=stage_layers * work.memory_s,
        host_s=stage_layers * waiting, network_s=stage_layers * network,
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
    # Logits in 16 bits, copied to fp32, softmax and its gradient: 2 + 4 + 4 x 4 bytes by Megatron's fused cross entropy.
    logits_bytes = 22.0 * tokens * vocabulary
    embedding_bytes = 12.0 * tokens * model.hidden
    memory = (logits_bytes + embedding_bytes) / constants.memory_bytes_per_s
    return Seconds(products * (2 if config.is_lora else 3), memory)


def _sixteen_bits(config: RunConfig) -> RunConfig:
    """The output layer stays in 16 bits where layers use 8."""
    return replace(config, precision="bf16") if config.precision in {"fp8", "nvfp4"} else config


def _pipeline(
    config: RunConfig, rates: Rates, stage: _Pass, ends: Seconds, topology: Topology, micro: int
) -> Parts:  # fmt: skip
    per_micro = rates.host_micro_us / 1e6 * (rates.compiled_host if config.compiled else 1.0)
    mean = stage.total_s + ends.total_s / config.pp
    chunks = max(1, config.interleave)
    transfer = _transfers_s(config, topology)
    bubble = (config.pp - 1) / chunks * (mean + (transfer if config.pp > 1 else 0.0))
    return Parts(
        compute_s=micro * (stage.compute_s + ends.compute_s), memory_s=micro * (stage.memory_s + ends.memory_s),
        host_s=micro * (stage.host_s + per_micro), network_s=micro * (stage.network_s + transfer * chunks),
        bubble_s=bubble, fixed_s=0.0,
    )  # fmt: skip


def _transfers_s(config: RunConfig, topology: Topology) -> float:
    """Activations to the next stage and gradients back, one micro batch."""
    if config.pp == 1:
        return 0.0
    split = config.tp if config.stack in {"megatron", "nemo", "megatron-deepspeed"} else 1
    payload = _ROW_BYTES * config.micro_batch_tokens * config.model.hidden / split
    return 2 * message_s(
        payload_bytes=payload, topology=topology, stride=config.tp * config.cp * config.dp
    )  # fmt: skip


def _tensor_parallel_s(config: RunConfig, topology: Topology, *, again: bool) -> float:
    """Two all-reduces a layer and pass; with sequence parallel a gather and a scatter each, of the same bytes."""
    if config.tp == 1:
        return 0.0
    payload = _ROW_BYTES * config.micro_batch_tokens * config.model.hidden
    one = collective_s(kind="all_reduce", payload_bytes=payload, ranks=config.tp, topology=topology)
    gathered = 0.0
    if config.sequence_parallel:  # the backward pass gathers the inputs again for the weights' gradients
        gathered = 2 * collective_s(kind="all_gather", payload_bytes=payload, ranks=config.tp, topology=topology) * 0.5
    return one * (2 + 2 + 2 * again) + gathered


def _context_parallel_s(config: RunConfig, topology: Topology) -> float:
    """Keys and values of the other ranks, forward, and their gradients back."""
    if config.cp == 1:
        return 0.0
    payload = 2.0 * _ROW_BYTES * config.micro_batch * config.seq_len * config.model.kv_width / config.tp
    forward = collective_s(
        kind="all_gather", payload_bytes=payload, ranks=config.cp, topology=topology, stride=config.tp
    )
    return 3 * forward


def _expert_parallel_s(config: RunConfig, topology: Topology) -> float:
    """Tokens to their experts and back, forward and backward."""
    experts = config.model.experts
    if experts is None or config.ep == 1:
        return 0.0
    payload = _ROW_BYTES * config.micro_batch_tokens * experts.per_token * config.model.hidden
    one = collective_s(kind="all_to_all", payload_bytes=payload, ranks=config.ep, topology=topology)
    return 4 * one * config.model.moe_layers / config.model.layers


def _local_parameters(config: RunConfig) -> float:
    """Parameters of the heaviest model-parallel rank, all experts of it counted."""
    model = config.model
    experts = model.expert_parameters
    dense = (model.parameters - experts) / (config.tp * config.pp)
    return dense + experts / (config.ep * config.pp)


def _updated_parameters(config: RunConfig) -> float:
    if config.is_lora:
        return 0.01 * _local_parameters(config)
    return _local_parameters(config) / (config.shard_ranks if config.zero_stage else 1)


def _data_parallel_s(config: RunConfig, rates: Rates, stage: _Pass, topology: Topology, micro: int) -> float:
    ranks = config.dp * config.cp
    if ranks == 1:
        return 0.0
    parameters, stride = _local_parameters(config), config.tp
    gradient = (4 if config.reduces_fp32 else 2) * parameters * (0.01 if config.is_lora else 1.0)

    def one(kind: str, payload: float) -> float:
        return collective_s(kind=kind, payload_bytes=payload, ranks=ranks, topology=topology, stride=stride)  # type: ignore[arg-type]  # kinds below

    if config.zero_stage == 3 and config.shard_ranks > 1:
        return _fully_sharded_s(config, rates, stage, one("all_gather", 2 * parameters), one("reduce_scatter", gradient), micro)
    if config.zero_stage in {1, 2} and config.shard_ranks > 1:
        return _exposed(config, rates, stage, one("reduce_scatter", gradient), one("all_gather", 2 * parameters))
    return _exposed(config, rates, stage, one("all_reduce", gradient), 0.0)


def _exposed(config: RunConfig, rates: Rates, stage: _Pass, reduce_s: float, gather_s: float) -> float:
    """What a step waits for: all of it, or what outlasts the last backward and the first forward pass and a share.

    Only the last micro batch of an accumulation has gradients to send, and only the first one needs new weights.
    """
    if not stack_row(config.stack).overlaps_gradients:
        return rates.dp_exposed * (reduce_s + gather_s)
    hidden_s = min(reduce_s, 2 / 3 * stage.total_s) + min(gather_s, stage.total_s / 3)
    return reduce_s + gather_s - (1 - rates.dp_exposed) * hidden_s


def _fully_sharded_s(
    config: RunConfig, rates: Rates, stage: _Pass, gather_s: float, scatter_s: float, micro: int
) -> float:  # fmt: skip
    """Gathers before forward and backward, a scatter after it, each micro batch; hidden behind the layers' work.

    What is longer than the work is exposed, and a share of the rest: the first layer's gather, the last one's scatter,
    and the SMs and bandwidth that collectives take from the products.
    """
    traffic = 2 * gather_s + scatter_s
    work = stage.total_s
    exposed = max(0.0, traffic - work)
    return micro * (exposed + rates.fsdp_exposed * min(traffic, work))
