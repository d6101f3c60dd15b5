"""Other estimators of training runs, asked about the same runs; each is imported from where the user has it.

None of them is part of the project: calculon and llm-analysis are read from source trees (``--peers DIR``), DeepSpeed,
accelerate and torch are used where they are installed. A peer that cannot answer raises `CannotAnswerError`.
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import warnings
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from trainworthy.estimate.run_config import RunConfig


class CannotAnswerError(Exception):
    """The peer does not model this run, or is not installed; the message says which."""


class Answer(NamedTuple):
    """What a peer says of a run; None: it does not say."""

    memory_bytes: float | None
    step_s: float | None


# What each says it estimates; a comparison has to know it.
ABOUT = {
    "trainworthy": "this project: peak memory of the kind that was measured, and step time",
    "calculon": "capacity of the first memory tier and batch time of a Megatron transformer (Isaev et al. 2023); its "
    "system files a100_80g and h100_80g_nvl8; embeddings and loss are not modelled",
    "llm-analysis": "estimated peak memory, and latency at a FLOP efficiency that the user gives (0.5, as its "
    "documentation has it for Megatron); data-parallel and pipeline communication are left out",
    "deepspeed": "model states under ZeRO (estimate_zero2/3_model_states_mem_needs); no activations, no time",
    "accelerate": "accelerate estimate-memory, training with mixed precision on one GPU; no activations, no time",
    "null model": "FLOPs / (GPUs x dense peak x 0.45) x (1 + bubble), with recomputation; no memory",
}


def peers(folder: Path | None) -> dict[str, Callable[[RunConfig], Answer]]:
    """Return the peers by name; source trees are looked for in ``folder``."""
    return {
        "calculon": lambda config: _calculon(config, _tree(folder, "calculon")),
        "llm-analysis": lambda config: _llm_analysis(config, _tree(folder, "llm-analysis")),
        "deepspeed": _deepspeed,
        "accelerate": _accelerate,
        "null model": _null_model,
    }


def _tree(folder: Path | None, name: str) -> Path:
    if folder is None or not (folder / name).is_dir():
        raise CannotAnswerError(f"no source tree {name} in --peers")
    path = folder / name
    if str(path) not in sys.path:
        sys.path.insert(0, str(path))  # before an older release that may be installed
    return path


def _refuse_experts_and_adapters(config: RunConfig) -> None:
    if config.model.experts is not None:
        raise CannotAnswerError("mixture of experts")
    if config.is_lora:
        raise CannotAnswerError("LoRA")


def _calculon(config: RunConfig, tree: Path) -> Answer:
    _refuse_experts_and_adapters(config)
    system_name = {"a100-sxm-80gb": "a100_80g", "h100-sxm-80gb": "h100_80g_nvl8"}.get(config.gpu.id)
    if system_name is None:
        raise CannotAnswerError(f"no system file for {config.gpu.id}")
    if config.cp > 1:
        raise CannotAnswerError("context parallelism")
    calculon: Any = import_module("calculon")
    Llm: Any = import_module("calculon.llm").Llm  # noqa: N806 - a class

    model = config.model
    app = Llm.Application({
        "name": model.name, "hidden": model.hidden, "seq_size": config.seq_len, "attn_heads": model.heads,
        # It has an MLP of two matrices: a gated one of three is given as one of the same weights.
        "feedforward": model.ffn_hidden * model.mlp_matrices // 2,
        "attn_size": model.head_dim, "num_blocks": model.layers,
    })  # fmt: skip
    try:
        run = Llm(app, logging.getLogger("calculon"))
        system = calculon.System(calculon.read_json_file(str(tree / "systems" / f"{system_name}.json")))
        run.compile(system, Llm.Execution.from_json(_calculon_execution(config)))
        run.run(system)
    except (Llm.Error, AssertionError, AttributeError, KeyError, ZeroDivisionError) as error:
        if "mem tier1 needs" not in str(error).casefold():  # it says so, and has the figures
            raise CannotAnswerError(f"{type(error).__name__}: {error}") from error
    return Answer(float(run.get_mem_tier1_cap_req()), float(run.get_total_time()))


def _calculon_execution(config: RunConfig) -> dict[str, Any]:
    recompute = {"full": "full", "none": "none"}.get(config.checkpointing, "attn_only")
    if config.attention == "flash" and recompute == "none":
        recompute = "attn_only"  # scores are not kept
    return {
        "num_procs": config.num_gpus, "tensor_par": config.tp, "pipeline_par": config.pp, "data_par": config.dp,
        "tensor_par_net": 0, "pipeline_par_net": int(config.tp * config.pp > 8),
        "data_par_net": int(config.num_gpus > 8), "microbatch_size": config.micro_batch,
        "batch_size": config.dp * config.micro_batch * config.grad_accumulation, "datatype": "float16",
        "fused_activation": True, "attention_type": "multihead", "activation_recompute": recompute,
        "pipeline_interleaving": config.interleave if config.pp > 1 else 1,
        "optimizer_sharding": config.zero_stage > 0 and config.dp > 1,
        "tensor_par_comm_type": "rs_ag" if config.sequence_parallel else "ar", "tensor_par_overlap": "none",
        "seq_par_ag_redo": False, "data_par_overlap": config.dp > 1, "weight_offload": False,
        "activations_offload": False, "optimizer_offload": False, "training": True,
    }  # fmt: skip


def _llm_analysis(config: RunConfig, tree: Path) -> Answer:
    _refuse_experts_and_adapters(config)
    if config.cp > 1:
        raise CannotAnswerError("context parallelism")
    with _quietly():
        analysis_of: Any = import_module("llm_analysis.analysis")
        settings: Any = import_module("llm_analysis.config")
        recomputation = analysis_of.ActivationRecomputation

        try:
            gpu = settings.get_gpu_config_by_name(config.gpu.id.replace("sxm2", "sxm"))
        except Exception as error:
            raise CannotAnswerError(f"no configuration for {config.gpu.id}") from error
        model = config.model
        recompute = {"full": recomputation.FULL, "none": recomputation.NONE}
        try:
            analysis = analysis_of.LLMAnalysis(
                settings.ModelConfig(
                    name=model.name, num_layers=model.layers, n_head=model.heads, hidden_dim=model.hidden,
                    vocab_size=model.vocabulary or 0, max_seq_len=config.seq_len, num_key_value_heads=model.kv_heads,
                    ffn_embed_dim=model.ffn_hidden, mlp_gated_linear_units=model.mlp == "gated",
                ),
                gpu, settings.get_dtype_config_by_name("w16a16e16"),
                settings.ParallelismConfig(
                    tp_size=config.tp, pp_size=config.pp, dp_size=config.dp,
                    sp_size=config.tp if config.sequence_parallel else 1,
                ),
                flops_efficiency=0.5, hbm_memory_efficiency=0.9,
            )  # fmt: skip
            found = analysis.training(
                batch_size_per_gpu=config.micro_batch, gradient_accumulation_steps=config.grad_accumulation,
                seq_len=config.seq_len, flash_attn=config.attention == "flash",
                activation_recomputation=recompute.get(config.checkpointing, recomputation.ATTN_COMPUTE),
                ds_zero=analysis_of.DSZeRO(config.zero_stage),
            )  # fmt: skip
        except (AssertionError, ValueError, TypeError, KeyError, ZeroDivisionError) as error:
            raise CannotAnswerError(f"{type(error).__name__}: {error}"[:160]) from error
    return Answer(float(found["estimated_peak_memory_per_gpu"]), float(found["latency_per_iter"]))


def _deepspeed(config: RunConfig) -> Answer:
    if config.tp * config.pp * config.cp > 1 or config.zero_stage < 2:
        raise CannotAnswerError("its estimators are for ZeRO 2 and 3 without model parallelism")
    with _quietly():
        try:
            stage3 = import_module("deepspeed.runtime.zero.stage3").estimate_zero3_model_states_mem_needs
            stage2 = import_module("deepspeed.runtime.zero.stage_1_and_2").estimate_zero2_model_states_mem_needs
        except Exception as error:
            raise CannotAnswerError(f"not installed: {error}") from error
    nodes = max(1, config.num_gpus // config.gpus_per_node)
    common = {"num_gpus_per_node": config.num_gpus // nodes, "num_nodes": nodes, "cpu_offload": False}
    parameters = config.model.parameters
    if config.zero_stage == 2:
        return Answer(float(stage2(parameters, **common)[1]), None)
    largest = (config.model.vocabulary or 0) * config.model.hidden
    return Answer(float(stage3(parameters, largest, cpu_offload_params=False, **common)[1]), None)


def _accelerate(config: RunConfig) -> Answer:
    if config.num_gpus > 1:
        raise CannotAnswerError("it knows one GPU only")
    try:
        from accelerate.commands.estimate import estimate_training_usage
    except ImportError as error:
        raise CannotAnswerError(f"not installed: {error}") from error
    sizes = estimate_training_usage(4 * config.model.parameters, "bfloat16")
    return Answer(float(sum(sizes[name] for name in ("model", "gradients", "optimizer"))), None)


def _null_model(config: RunConfig) -> Answer:
    peak = config.gpu.peak_tflops("bf16") or config.gpu.peak_tflops("fp16")
    if peak is None:
        raise CannotAnswerError("no dense peak")
    model = config.model
    attention = 12 * model.layers * model.attention_width * config.seq_len
    flops = float((6 * model.active_matmul_parameters + attention) * config.step_tokens)
    if config.checkpointing == "full":
        flops *= 4 / 3
    bubble = (config.pp - 1) / (config.interleave * config.grad_accumulation)
    return Answer(None, flops / (config.num_gpus * peak * 1e12 * 0.45) * (1 + bubble))


@contextlib.contextmanager
def _quietly() -> Any:
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


@cache
def runtime_estimator_error() -> str:
    """Say what keeps torch's RuntimeEstimator from answering here, or "" if nothing does."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.distributed._tools.runtime_estimator import RuntimeEstimator

    try:
        with FakeTensorMode(), torch.device("cuda"):
            layer = torch.nn.Linear(1024, 1024, dtype=torch.bfloat16)
            tokens = torch.randn(1024, 1024, dtype=torch.bfloat16)
            with RuntimeEstimator()(estimate_mode_type="operator-level-cost-model"):
                layer(tokens).sum().backward()
    except (Exception, SystemExit) as error:
        return f"{type(error).__name__}: {error}".splitlines()[0][:200]
    return ""
