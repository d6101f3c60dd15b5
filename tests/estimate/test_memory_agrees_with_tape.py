"""The analytic figures of a model are those of the tape of the same model: parameters, model FLOPs, peak memory."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from importlib import import_module
from typing import Any, NamedTuple

import pytest

import trainworthy as tw
from trainworthy.estimate.analytic_memory import estimate_memory
from trainworthy.estimate.memory_habits import memory_habits
from trainworthy.estimate.memory_input import MemoryInput
from trainworthy.estimate.model_dims import ModelDims
from trainworthy.formulas.transformer import decoder_flops_per_token
from trainworthy.hardware.rows import gpu_row
from trainworthy.inspect.peak import peak_memory
from trainworthy.tape.record import Tape

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

GPU = "h100-sxm-80gb"


class Case(NamedTuple):
    family: str
    precision: str
    checkpointing: str
    batch: int
    sequence: int
    layers: int
    hidden: int
    vocabulary: int


CASES = (
    Case("llama", "bf16", "none", 2, 512, 4, 1024, 16384),
    Case("llama", "bf16", "full", 4, 1024, 12, 768, 8192),
    Case("llama", "autocast", "none", 4, 1024, 6, 1024, 8192),
    Case("gpt", "bf16", "none", 4, 1024, 6, 768, 8192),
    Case("gpt", "autocast", "none", 2, 1024, 8, 1024, 16384),
)


def _dims(case: Case) -> ModelDims:
    if case.family == "llama":
        return ModelDims(
            name="llama", layers=case.layers, hidden=case.hidden, ffn_hidden=11 * case.hidden // 4, heads=16,
            kv_heads=4, head_dim=case.hidden // 16, vocabulary=case.vocabulary, mlp="gated", norm="rms_norm",
        )  # fmt: skip
    return ModelDims(
        name="gpt", layers=case.layers, hidden=case.hidden, ffn_hidden=4 * case.hidden, heads=16, kv_heads=16,
        head_dim=case.hidden // 16, vocabulary=case.vocabulary, mlp="plain", norm="layer_norm", biases="all",
        output="tied", positions=case.sequence,
    )  # fmt: skip


def _model(case: Case) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    dims = _dims(case)
    if case.family == "llama":
        return LlamaForCausalLM(LlamaConfig(
            hidden_size=dims.hidden, intermediate_size=dims.ffn_hidden, num_hidden_layers=dims.layers,
            num_attention_heads=16, num_key_value_heads=4, vocab_size=case.vocabulary, use_cache=False,
            max_position_embeddings=case.sequence,
        ))  # fmt: skip
    return GPT2LMHeadModel(GPT2Config(
        n_embd=dims.hidden, n_layer=dims.layers, n_head=16, vocab_size=case.vocabulary, n_positions=case.sequence,
        use_cache=False, resid_pdrop=0.0, attn_pdrop=0.0, embd_pdrop=0.0, activation_function="gelu", bos_token_id=0,
        eos_token_id=0,
    ))  # fmt: skip


def _make(case: Case) -> Callable[[], Callable[[], Any]]:
    def make() -> Callable[[], Any]:
        model = _model(case).to("cuda", torch.bfloat16 if case.precision == "bf16" else torch.float32)
        if case.checkpointing == "full":
            for layer in model.model.layers:
                layer.forward = _checkpointed(layer.forward)
        optimizer = torch.optim.AdamW(model.parameters())

        def step() -> Any:
            tokens = torch.randint(case.vocabulary, (case.batch, case.sequence)).to("cuda")
            context = torch.autocast("cuda", torch.bfloat16) if case.precision == "autocast" else nullcontext()
            with context:
                out = model(input_ids=tokens, labels=tokens)
            out.loss.backward()
            optimizer.step()
            optimizer.zero_grad()

        return step

    return make


def _checkpointed(forward: Callable[..., Any]) -> Callable[..., Any]:
    from torch.utils.checkpoint import checkpoint

    return lambda *args, **kwargs: checkpoint(forward, *args, use_reentrant=False, **kwargs)


def _input(case: Case) -> MemoryInput:
    habits = memory_habits("generic")
    if case.precision == "bf16":  # weights, gradients, states and their square root in bfloat16
        habits = replace(
            habits, weight_bytes=2, gradient_bytes=2, optimizer_bytes=4, step_bytes=2, autocast=False
        )  # fmt: skip
    return MemoryInput(
        model=_dims(case), gpu=gpu_row(GPU), habits=habits, seq_len=case.sequence, micro_batch=case.batch,
        norms="upcast", checkpointing=case.checkpointing,  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.family}-{case.precision}-{case.checkpointing}")
def test_one_gpu(case: Case) -> None:
    result = tw.rehearse(_make(case), gpu=GPU, steps=2)
    dims, found = _dims(case), estimate_memory(_input(case))
    assert dims.parameters == result.parameters
    assert found.parameters_per_gpu == result.parameters
    flops = decoder_flops_per_token(
        layers=dims.layers, sequence=case.sequence, hidden=dims.hidden, ffn=dims.ffn_hidden, heads=dims.heads,
        kv_heads=dims.kv_heads, mlp=dims.mlp, vocabulary=case.vocabulary,
    )  # fmt: skip
    assert flops * case.batch * case.sequence == result.model_flops_per_step
    peak = peak_memory(result.tape)
    assert found.allocated.expected - found.part_bytes("libraries") == pytest.approx(peak.allocated_bytes, rel=0.01)
    assert found.allocated.expected == pytest.approx(peak.card_allocated_bytes, rel=0.03)


class Layout(NamedTuple):
    checkpointing: str
    layers: int
    dim: int
    ffn: int
    vocabulary: int
    tp: int
    ranks: int


LAYOUTS = (
    Layout("full", 4, 1024, 2816, 16384, 4, 16),
    Layout("none", 4, 1024, 4096, 2048, 2, 8),
    Layout("full", 4, 1024, 4096, 2048, 4, 16),
)
SEQUENCE = 2048


def _program() -> Any:
    return import_module("benchmarks.cluster_llama")


def _rank(layout: Layout) -> Tape:
    """Train as rank 0 of a virtual cluster: FSDP2 over data-parallel ranks, DTensor over tensor-parallel ones."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.nn import functional

    from trainworthy.virtual.cluster import Cluster
    from trainworthy.virtual.gpu import VirtualGpu

    cluster_llama = _program()
    cluster = Cluster(world_size=layout.ranks, gpus_per_node=8, rank=0)
    with VirtualGpu(gpu_row(GPU), cluster=cluster) as gpu:
        torch.cuda.set_device(0)
        mesh = init_device_mesh("cuda", (layout.ranks // layout.tp, layout.tp), mesh_dim_names=("dp", "tp"))
        with torch.device("meta"):
            model = cluster_llama.Llama(layout.layers, layout.dim, layout.ffn, 16, 8, layout.vocabulary)
        cluster_llama.parallelize(model, mesh)
        model.to_empty(device="cuda")
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
        for _ in range(2):
            tokens = torch.randint(layout.vocabulary, (1, SEQUENCE), device="cuda")
            loss = functional.cross_entropy(model(tokens).flatten(0, 1).float(), tokens.flatten())
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    return gpu.tape()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "layout", LAYOUTS, ids=lambda layout: f"{layout.checkpointing}-{layout.vocabulary}-tp{layout.tp}"
)
def test_rank_of_a_cluster(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster_llama = _program()
    if layout.checkpointing == "none":
        monkeypatch.setattr(cluster_llama, "checkpoint", lambda module: module)
    peak = peak_memory(_rank(layout))
    dims = ModelDims(
        name="llama", layers=layout.layers, hidden=layout.dim, ffn_hidden=layout.ffn, heads=16, kv_heads=8,
        head_dim=layout.dim // 16, vocabulary=layout.vocabulary, mlp="gated", norm="rms_norm",
    )  # fmt: skip
    # As this script has it: AdamW over all tensors at once, the loss on gathered logits that nobody holds, norms that
    # DTensor takes apart.
    habits = replace(memory_habits("torchtitan"), step_bytes=4, logits_over_tp=False)
    found = estimate_memory(MemoryInput(
        model=dims, gpu=gpu_row(GPU), habits=habits, seq_len=SEQUENCE, micro_batch=1, num_gpus=layout.ranks,
        tp=layout.tp, zero_stage=3, shard_ranks=layout.ranks // layout.tp, sequence_parallel=True,
        norms="float32", loss_bytes=12, checkpointing=layout.checkpointing,  # type: ignore[arg-type]
    ))  # fmt: skip
    assert found.allocated.expected == pytest.approx(peak.card_allocated_bytes, rel=0.05)
