"""What the GPUs of a run send each other in a step, and what of it nothing hides."""

from __future__ import annotations

from dataclasses import dataclass

from trainworthy.estimate.network import Topology, collective_s, message_s
from trainworthy.estimate.run_config import RunConfig
from trainworthy.estimate.run_constants import Constants, Rates
from trainworthy.estimate.stacks import stack_row
from trainworthy.formulas.collectives import Kind

_ROW_BYTES = 2  # activations and weights travel in 16 bits
_ADAPTERS = 0.01
"""Parameters of adapters / of the model they are trained for: rank 8 to 32 in LoRA recipes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSetup:
    """A run with its constants and its links."""

    config: RunConfig
    rates: Rates
    constants: Constants
    topology: Topology


def topology_of(config: RunConfig) -> Topology:
    """Return how the GPUs of a run are joined."""
    link = config.gpu.gpu_link or config.gpu.host_link
    return Topology(
        domain=config.nvlink_domain, inside_gb_per_s=link.gb_per_s_per_direction if link else 16.0,
        between_gb_per_s=config.network_gb_per_s, node=config.gpus_per_node, switched=config.switched,
    )  # fmt: skip


def transfers_s(run: RunSetup) -> float:
    """Compute the time to send activations to the next stage and gradients back, for one micro batch."""
    config = run.config
    if config.pp == 1:
        return 0.0
    split = config.tp if stack_row(config.stack).scatters_transfers else 1
    payload = _ROW_BYTES * config.micro_batch_tokens * config.model.hidden / split
    stride = config.tp * config.cp * config.dp
    return 2 * message_s(payload_bytes=payload, topology=run.topology, stride=stride)


def layer_s(run: RunSetup, *, again: bool) -> float:
    """Compute the exposed time of a layer's collectives for a micro batch; ``again``: the forward pass is repeated."""
    tensor = _tensor_parallel_s(run, again=again) * run.rates.tp_exposed
    return tensor + run.rates.cp_exposed * _context_parallel_s(run) + _expert_parallel_s(run)


def _tensor_parallel_s(run: RunSetup, *, again: bool) -> float:
    """Two all-reduces a layer and pass; with sequence parallel a gather and a scatter each, of the same bytes."""
    config = run.config
    if config.tp == 1:
        return 0.0
    payload = _ROW_BYTES * config.micro_batch_tokens * config.model.hidden
    one = collective_s(kind="all_reduce", payload_bytes=payload, ranks=config.tp, topology=run.topology)
    gathered = 0.0
    if config.sequence_parallel:  # the backward pass gathers the inputs again for the weights' gradients
        gathered = collective_s(kind="all_gather", payload_bytes=payload, ranks=config.tp, topology=run.topology)
    return one * (4 + 2 * again) + gathered


def _context_parallel_s(run: RunSetup) -> float:
    """Keys and values of the other ranks, forward, and their gradients back."""
    config = run.config
    if config.cp == 1:
        return 0.0
    payload = 2.0 * _ROW_BYTES * config.micro_batch * config.seq_len * config.model.kv_width / config.tp
    return 3 * collective_s(
        kind="all_gather", payload_bytes=payload, ranks=config.cp, topology=run.topology, stride=config.tp
    )  # fmt: skip


def _expert_parallel_s(run: RunSetup) -> float:
    """Tokens to their experts and back, forward and backward; a token goes to each node, or GPU, only once (DeepEP)."""
    config, experts = run.config, run.config.model.experts
    if experts is None or config.ep == 1:
        return 0.0
    nodes = -(-config.ep // run.topology.domain)
    copies = _distinct(experts.per_token, nodes if nodes > 1 else config.ep)
    payload = _ROW_BYTES * config.micro_batch_tokens * copies * config.model.hidden
    one = collective_s(kind="all_to_all", payload_bytes=payload, ranks=config.ep, topology=run.topology)
    return 4 * one * config.model.moe_layers / config.model.layers


def _distinct(picks: int, places: int) -> float:
    """Expected number of different places that random picks meet."""
    return float(places * (1 - (1 - 1 / places) ** picks))


def local_parameters(config: RunConfig) -> float:
    """Return the parameters of a model-parallel rank, before data parallelism shards them."""
    experts = config.model.expert_parameters
    dense = (config.model.parameters - experts) / (config.tp * config.pp)
    return dense + experts / (config.ep * config.pp)


def updated_parameters(config: RunConfig) -> float:
    """Return the parameters that the optimizer of one rank updates."""
    share = _ADAPTERS if config.is_lora else 1.0
    return share * local_parameters(config) / (config.shard_ranks if config.zero_stage else 1)


def data_parallel_s(run: RunSetup, *, work_s: float, micro_batches: int) -> float:
    """Compute the exposed time of gradients and weights in a step; ``work_s`` is what a micro batch takes."""
    config = run.config
    if config.dp * config.cp == 1:
        return 0.0
    parameters = local_parameters(config)
    gradient = (4 if config.reduces_fp32 else 2) * parameters * (_ADAPTERS if config.is_lora else 1.0)
    if config.zero_stage == 0 or config.shard_ranks == 1:
        return _exposed(run, work_s=work_s, reduce_s=_over_data(run, "all_reduce", gradient), gather_s=0.0)
    gather_s = _over_data(run, "all_gather", _ROW_BYTES * parameters)
    scatter_s = _over_data(run, "reduce_scatter", gradient)
    # With a pipeline, weights stay gathered for the step (Dubey et al. 2024, section 3.3.2; torchtitan does the same).
    if config.zero_stage < 3 or config.pp > 1:
        return _exposed(run, work_s=work_s, reduce_s=scatter_s, gather_s=gather_s)
    # Fully sharded: gathers before forward and backward, a scatter after it, each micro batch, behind the layers' work.
    # What is longer than the work is exposed, and a share of the rest: the first layer's gather, the last one's
    # scatter, and the SMs and bandwidth that collectives take from the products.
    traffic = 2 * gather_s + scatter_s
    exposed = max(0.0, traffic - work_s) + run.rates.fsdp_exposed * min(traffic, work_s)
    return micro_batches * exposed


def _over_data(run: RunSetup, kind: Kind, payload_bytes: float) -> float:
    config = run.config
    return collective_s(
        kind=kind, payload_bytes=payload_bytes, ranks=config.dp * config.cp, topology=run.topology, stride=config.tp
    )  # fmt: skip


def _exposed(run: RunSetup, *, work_s: float, reduce_s: float, gather_s: float) -> float:
    """What a step waits for: all of it, or what outlasts the last backward and the first forward pass and a share.

    Only the last micro batch of an accumulation has gradients to send, and only the first one needs new weights.
    """
    if not stack_row(run.config.stack).overlaps_gradients:
        return run.rates.dp_exposed * (reduce_s + gather_s)
    hidden_s = min(reduce_s, 2 / 3 * work_s) + min(gather_s, work_s / 3)
    return reduce_s + gather_s - (1 - run.rates.dp_exposed) * hidden_s
