"""A training run as its table or its plan describes it: model, layout, batch, precision, GPUs and links.

Nothing in a `RunConfig` was measured: `run_config_from_row` removes the measured columns before it reads a row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trainworthy.errors import UsageError
from trainworthy.estimate import run_words
from trainworthy.estimate.model_dims import ModelDims
from trainworthy.estimate.model_rows import dims_from_columns
from trainworthy.estimate.run_gpu import RunGpu, run_gpu
from trainworthy.estimate.run_words import Attention, Checkpointing, Fp8Recipe, Precision, Selection, whole_number
from trainworthy.estimate.stacks import Stack, stack_of, stack_on
from trainworthy.formulas.optimizer_state import OPTIMIZERS
from trainworthy.hardware.gpu import Gpu

LARGEST = 10**12
"""Of any size or count: more is a slip of the pen."""

MEASURED_COLUMNS = (
    "measured_tflops_per_gpu", "mfu", "hfu", "tokens_per_s_per_gpu", "step_time_s", "peak_memory_gb", "status",
)  # fmt: skip
"""Results of a run; never an input."""

LAYOUT_COLUMNS = ("seq_len", "global_batch", "micro_batch", "gpu", "num_gpus", "tp", "pp")
MODEL_COLUMNS = ("layers", "hidden", "heads")
"""Both are required for a prediction that is counted with the others. A row whose model is known by name, or without a
micro batch, is predicted with what is assumed, and counted apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """One training run. Degrees multiply: num_gpus = dp x tp x pp x cp (``ep`` is taken out of dp and tp)."""

    model: ModelDims
    seq_len: int
    global_batch: int
    micro_batch: int
    gpu: Gpu
    generation: str
    """GPU generation, such as ``ampere``: the key of the constants."""
    stack: str
    """Training software, such as ``megatron``: the key of the constants."""
    num_gpus: int
    gpus_per_node: int
    nvlink_domain: int
    """GPUs that the fast link joins; the node's, the rack's, or part of a node."""
    switched: bool
    """Whether a switch joins them, or links between neighbours."""
    network_gb_per_s: float
    """What one GPU has to other nodes, in one direction."""
    dp: int
    tp: int = 1
    pp: int = 1
    cp: int = 1
    ep: int = 1
    interleave: int = 1
    """Model chunks a pipeline stage holds."""
    zero_stage: int = 0
    shard_ranks: int = 1
    """Ranks that optimizer states (and more, by stage) are spread over."""
    sequence_parallel: bool = False
    checkpointing: Checkpointing = "none"
    selection: Selection | None = None
    """What selective checkpointing recomputes."""
    precision: Precision = "bf16"
    fp8_recipe: Fp8Recipe | None = None
    reduces_fp32: bool = False
    """Whether gradients travel in 4 bytes."""
    attention: Attention = "flash"
    flash_version: int | None = None
    """None: the kernels that are written for the GPU."""
    fused_norms: bool | None = None
    """Whether a table says that norms are fused kernels (Aleph Alpha's "RMS kernel"); None: not said."""
    compiled: bool = False
    optimizer: str | None = None
    """Whose states are kept (`formulas.optimizer_state`); None: Adam's, as the software keeps them."""
    task: str = "pretrain"
    packed_span: int | None = None
    """Tokens of the samples that are packed into sequences, beyond which nothing attends; None: whole sequences."""
    assumptions: tuple[str, ...] = field(default=())
    """What the table did not say and how it was taken."""

    @property
    def grad_accumulation(self) -> int:
        """Micro batches that one rank runs in a step."""
        return max(1, -(-self.global_batch // (self.dp * self.micro_batch)))

    @property
    def micro_batch_tokens(self) -> float:
        """Tokens of a micro batch on one rank of a context-parallel group."""
        return self.micro_batch * self.seq_len / self.cp

    @property
    def step_tokens(self) -> int:
        """Tokens of one optimizer step, over all GPUs."""
        return self.global_batch * self.seq_len

    @property
    def attention_span(self) -> int:
        """Keys that a token may attend to at most."""
        spans = (self.seq_len, self.model.window, self.packed_span)
        return min(span for span in spans if span is not None)

    @property
    def is_lora(self) -> bool:
        """Whether base weights are frozen and only adapters are trained."""
        return "lora" in self.task.casefold()


def run_config_from_row(row: Mapping[str, str]) -> RunConfig:
    """Read one row of a table with the columns of a table of training runs; measured columns are not read.

    Raises:
        UsageError: If a required column is empty or contradicts another; the message names it.
        UnknownGpuError: If the GPU has no row.
    """
    row = {name: (value or "").strip() for name, value in row.items() if name and name not in MEASURED_COLUMNS}
    stack, assumptions = stack_of(row), list[str]()
    row = _filled({name: _checked(name, value) for name, value in row.items()}, stack, assumptions)
    missing = [name for name in LAYOUT_COLUMNS if not row.get(name)]
    if missing:
        raise UsageError(f"No value for {', '.join(missing)}.", fix="These columns are required.")
    found = run_gpu(row["gpu"], memory_gb=run_words.number(row.get("gpu_memory_gb", "")))
    assumptions.extend(found.assumptions)
    stack = stack_on(stack, found.generation)
    model = dims_from_columns(row, assumptions)
    layout = _layout(row, assumptions)
    layout["interleave"] = layout["interleave"] or _usual_interleave(
        layout["pp"], layers=model.layers, stack=stack, assumptions=assumptions
    )
    sharding = _sharding(row, layout["dp"], stack.zero_stage, assumptions)
    gpus_per_node = whole_number(row.get("gpus_per_node")) or (4 if found.nvlink_domain else 8)
    sp, links = row.get("sequence_parallel", "").casefold(), row.get("interconnect", "").casefold()
    task = row.get("task") or "pretrain"
    span = stack.packed_span if task.casefold() in {"sft", "lora"} else None
    if span is not None:
        assumptions.append(f"samples of {span} tokens packed into sequences: as {stack.name}'s finetuning recipes do")
    given = {**layout, **sharding, **_numerics(row, stack, found, assumptions)}
    return RunConfig(
        model=model, gpu=found.gpu, generation=found.generation, stack=stack.name,
        gpus_per_node=gpus_per_node, nvlink_domain=_fast_domain(row, found, gpus_per_node),
        switched=found.generation not in {"pascal", "volta"} or "nvswitch" in links or "dgx-2" in row["gpu"].casefold(),
        network_gb_per_s=_network(row, gpus_per_node, found.generation, assumptions),
        sequence_parallel=layout["tp"] > 1 and (stack.sequence_parallel if not sp else sp in {"yes", "true", "1"}),
        reduces_fp32=stack.reduces_fp32 and "mode PURE" not in row.get("note", ""),
        optimizer=_optimizer(row.get("optimizer")), task=task, packed_span=span, assumptions=tuple(assumptions),
        **given,
    )  # fmt: skip


def _optimizer(words: str | None) -> str | None:
    name = (words or "").casefold().replace("_", "-")
    if name and name not in OPTIMIZERS:
        raise UsageError(f"Unknown optimizer {words!r}. Known: {', '.join(OPTIMIZERS)}.", fix="Pass one of these.")
    return name or None


def _numerics(row: Mapping[str, str], stack: Stack, found: RunGpu, assumptions: list[str]) -> dict[str, Any]:
    """Return kernels, precision and recomputation as a row words them, or as its stack usually has them."""
    words = row.get("compile_flash", "")
    kernel, version = run_words.attention(words)
    kind, selection = run_words.checkpointing(row.get("activation_checkpointing", ""))
    precision, recipe = run_words.precision(row.get("precision", ""))
    compiled = run_words.is_compiled(words)
    for name, understood in (("activation_checkpointing", kind), ("precision", precision)):
        if row.get(name) and understood is None:
            assumptions.append(f"{name} {row[name][:20]!r} is not understood")
    if kernel is None:
        assumptions.append(f"attention {stack.attention}: as {stack.name} does")
    if kind is None:
        assumptions.append(f"activation checkpointing {stack.checkpointing}: as {stack.name} does")
    usual: Precision = "bf16" if found.gpu.supports_bf16 else "fp16"
    if precision is None:
        assumptions.append(f"precision {usual}")
    return {
        "checkpointing": kind or stack.checkpointing, "selection": selection, "precision": precision or usual,
        "fp8_recipe": recipe, "attention": kernel or stack.attention,
        "flash_version": version or stack.flash_version or None,
        "fused_norms": "rms kernel" in words.casefold() or None,
        "compiled": stack.compiled if compiled is None else compiled,
    }  # fmt: skip


_OPTIONAL_NUMBERS = frozenset(
    {"layers", "hidden", "heads", "ffn_hidden", "kv_heads", "vocab", "params_b", "gpu_memory_gb", "gpus_per_node", "dp",
     "cp", "ep", "vp_interleave"}
)  # fmt: skip
_EMPTY_WORDS = frozenset({"none", "null", "nan", "na", "n/a", "-", "?", "unknown"})


def _checked(name: str, value: str) -> str:
    """Return the value, "" where it says that there is none; a number that cannot be is refused, not skipped."""
    if name not in _OPTIONAL_NUMBERS and name not in LAYOUT_COLUMNS:
        return value
    if value.casefold() in _EMPTY_WORDS:
        return ""
    if name in _OPTIONAL_NUMBERS and value:
        read = run_words.number(value)
        if read is None or not 0 < read <= LARGEST:
            raise UsageError(f"{name} is {value!r}; it must be a number above 0 and at most {LARGEST:.0e}.")
    return value


def states_layout(row: Mapping[str, str]) -> bool:
    """Return whether a row has all required columns, so that only what a stack's habits say was assumed."""
    return all((row.get(name) or "").strip() for name in (*LAYOUT_COLUMNS, *MODEL_COLUMNS))


def _filled(row: dict[str, str], stack: Stack, assumptions: list[str]) -> dict[str, str]:
    if not row.get("seq_len") and stack.seq_len:
        row = {**row, "seq_len": str(stack.seq_len)}
        assumptions.append(f"seq_len {stack.seq_len}: as {stack.name}'s benchmark")
    if not row.get("global_batch"):
        product = [whole_number(row.get(name)) for name in ("micro_batch", "grad_accum", "num_gpus")]
        model_ranks = [whole_number(row.get(name)) or 1 for name in ("tp", "pp", "cp")]
        if all(product):
            micro, accumulated, ranks = (value or 1 for value in product)
            batch = micro * accumulated * max(1, ranks // math.prod(model_ranks))
            row = {**row, "global_batch": str(batch)}
            assumptions.append(f"global_batch {batch}, which grad_accum implies")
    if not row.get("micro_batch") and row.get("global_batch"):
        row = {**row, "micro_batch": "1"}
        assumptions.append("micro_batch 1")
    return row


def _layout(row: Mapping[str, str], assumptions: list[str]) -> dict[str, int]:
    names = ("seq_len", "global_batch", "micro_batch", "num_gpus", "tp", "pp")
    values = {name: _required(row, name) for name in names}
    values["cp"] = whole_number(row.get("cp")) or 1
    values["ep"] = whole_number(row.get("ep")) or 1
    values["interleave"] = whole_number(row.get("vp_interleave")) or 0
    model_ranks = values["tp"] * values["pp"] * values["cp"]
    stated = whole_number(row.get("dp"))
    implied, rest = divmod(values["num_gpus"], model_ranks)
    if stated is not None and stated * model_ranks == values["num_gpus"]:
        return {**values, "dp": stated}
    if rest or not implied:
        raise UsageError(
            f"num_gpus is {values['num_gpus']}, which tp x pp x cp = {model_ranks} does not divide.",
            fix="Correct one of these columns.",
        )
    if stated is not None:
        assumptions.append(f"dp {implied}, which the other degrees imply; the table says {stated}")
    return {**values, "dp": implied}


def _usual_interleave(pp: int, *, layers: int, stack: Stack, assumptions: list[str]) -> int:
    """Interleave as far as layers allow where the stack's recipes do (NeMo's do whenever there is a pipeline)."""
    if pp == 1 or not stack.interleaves or layers % pp:
        return 1
    assumptions.append(f"interleaving {layers // pp}: as {stack.name}'s recipes do")
    return layers // pp


def _sharding(row: Mapping[str, str], dp: int, usual_stage: int, assumptions: list[str]) -> dict[str, int]:
    stage, ranks = run_words.zero_stage(row.get("zero_stage", ""))
    if stage is None:
        stage = usual_stage if dp > 1 else 0
        assumptions.append(f"ZeRO stage {stage}")
    return {"zero_stage": stage, "shard_ranks": min(ranks or dp, dp) if stage else 1}


def _fast_domain(row: Mapping[str, str], found: RunGpu, gpus_per_node: int) -> int:
    # Jean Zay's A100 nodes: "8 GPUs per node, NVLink 4 inter-gpu connects" (bigscience/train/tr11-176B-ml/README.md),
    # two boards of four; the tables agree, TP 8 is a quarter slower than TP 4 there.
    if "jean zay" in row.get("interconnect", "").casefold() and found.generation == "ampere":
        return 4
    return found.nvlink_domain or gpus_per_node


def _network(row: Mapping[str, str], gpus_per_node: int, generation: str, assumptions: list[str]) -> float:
    for text in (
        row.get("interconnect", ""),
        *(part for part in row.get("note", "").split(",") if "inter-node" in part),
    ):
        rate = run_words.network_gb_per_s(text, gpus_per_node=gpus_per_node)
        if rate is not None:
            return rate
    # One port of the generation a GPU, as DGX systems have them: EDR for 2 V100, HDR for A100, NDR from H100 on.
    usual = {"volta": 6.25, "ampere": 25.0}.get(generation, 50.0)
    assumptions.append(f"network {usual:g} GB/s a GPU")
    return usual


def _required(row: Mapping[str, str], name: str) -> int:
    value = whole_number(row.get(name))
    if value is None or not 1 <= value <= LARGEST:
        raise UsageError(f"{name} is {row.get(name)!r}; it must be a whole number from 1 to {LARGEST:.0e}.")
    return value
