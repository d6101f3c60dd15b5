"""Which parameters a pipeline stage holds on one rank, and how many micro batches are under way in it."""

from __future__ import annotations

from dataclasses import dataclass

from trainworthy.estimate.memory_input import MemoryInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage of the pipeline, on one rank of its tensor-parallel group."""

    index: int
    layers: int
    layer_parameters: float
    """Of one layer, without routed experts."""
    expert_parameters: float
    """Routed experts of all layers of the stage."""
    embedding_parameters: float
    head_parameters: float
    """Output matrix and last norm; 0 where the embedding is the output matrix and both are here."""
    layers_under_way: float
    """Layers times micro batches whose activations are held at once."""
    micro_batches_under_way: int
    has_loss: bool

    @property
    def dense_parameters(self) -> float:
        """All but the routed experts."""
        return self.layers * self.layer_parameters + self.embedding_parameters + self.head_parameters

    @property
    def parameters(self) -> float:
        """All parameters of the rank, as if nothing were sharded by data parallelism."""
        return self.dense_parameters + self.expert_parameters


def stages(run: MemoryInput) -> tuple[Stage, ...]:
    """Return every stage; the pipeline divides layers, or modules, as the stack does."""
    counts = _layer_counts(run)
    layer = _layer_parameters(run)
    model = run.model
    embedding = (model.vocabulary or 0) * model.hidden / run.tp + model.positions * model.hidden
    output = (model.vocabulary or 0) * model.hidden / run.tp
    experts = model.expert_parameters / model.layers / run.ep
    found = []
    for index, layers in enumerate(counts):
        is_last = index == run.pp - 1
        tied_here = model.output == "tied" and run.pp == 1
        head = (0 if tied_here else output) + model.hidden * (2 if model.norm == "layer_norm" else 1)
        under_way = min(run.pp - index, run.micro_batches)
        found.append(
            Stage(
                index=index, layers=layers, layer_parameters=layer, expert_parameters=experts * layers,
                embedding_parameters=embedding if index == 0 else 0.0, head_parameters=head if is_last else 0.0,
                layers_under_way=_layers_under_way(run, layers, under_way),
                micro_batches_under_way=under_way, has_loss=is_last,
            )
        )  # fmt: skip
    return tuple(found)


def _layers_under_way(run: MemoryInput, layers: int, under_way: int) -> float:
    """1F1B holds one micro batch for each stage that follows; interleaving adds (p - 1) / (p v) of a stage's share.

    Source: Narayanan et al. 2021; Korthikanti et al. 2022, section 4.2.3: 1 + (p - 1) / (p v)
    """
    if run.pp == 1:
        return float(layers)
    if run.interleave == 1:
        return float(layers * under_way)
    warm_up = run.interleave * run.pp + run.pp - 1 - 2 * (run.pp - under_way)
    most = run.micro_batches * run.interleave
    return layers / run.interleave * min(max(warm_up, 1), most)


def _layer_counts(run: MemoryInput) -> list[int]:
    if run.habits.partition == "layers":
        each, rest = divmod(run.model.layers, run.pp)
        return [each + (1 if index < rest else 0) for index in range(run.pp)]
    modules = ["embedding", *["layer"] * run.model.layers, "norm", "head"]
    each, rest = divmod(len(modules), run.pp)
    counts, at = [], 0
    for index in range(run.pp):
        size = each + (1 if index < rest else 0)
        counts.append(modules[at : at + size].count("layer"))
        at += size
    return counts


def _layer_parameters(run: MemoryInput) -> float:
    """Matrices are divided by tensor parallelism, norms and the biases of row-parallel products are not."""
    model = run.model
    kv_width = model.kv_width / min(run.tp, model.kv_heads)
    attention = model.hidden * (2 * model.attention_width / run.tp + 2 * kv_width)
    mlp = _dense_mlp_width(run) * model.mlp_matrices * model.hidden / run.tp
    norms = 2 * model.hidden * (2 if model.norm == "layer_norm" else 1)
    biases = 0.0
    if model.biases == "all":
        biases = 2 * model.hidden + (model.attention_width + 2 * model.kv_width + model.ffn_hidden) / run.tp
        biases += model.ffn_hidden / run.tp if model.mlp == "gated" else 0
    router = 0.0 if model.experts is None else model.hidden * model.experts.count * model.moe_layers / model.layers
    return attention + mlp + norms + biases + router


def _dense_mlp_width(run: MemoryInput) -> float:
    experts = run.model.experts
    if experts is None:
        return run.model.ffn_hidden
    shared = experts.shared_ffn_hidden * run.model.moe_layers
    return (shared + experts.dense_layers * run.model.ffn_hidden) / run.model.layers
