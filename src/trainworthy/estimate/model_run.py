"""``estimate --model``: a run from a model's name and a layout; analytic, without a script, in about a millisecond."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from trainworthy.errors import UsageError
from trainworthy.estimate.analytic_memory import RunMemory, estimate_run_memory
from trainworthy.estimate.analytic_time import RunTime, estimate_run_time
from trainworthy.estimate.model_dims import ModelDims
from trainworthy.estimate.model_rows import dims_from_hf_config, model_row
from trainworthy.estimate.quantity import Quantity
from trainworthy.estimate.run_config import RunConfig, run_config_from_row
from trainworthy.hardware.rows import gpu_row

_USUAL_SEQ_LEN = 4096
_USUAL_MICRO_BATCHES = 4
"""Micro batches for each pipeline stage where the global batch is not given: the bubble is then a fifth at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRun:
    """A run that was described by options, and what it is expected to cost."""

    config: RunConfig
    time: RunTime
    memory: RunMemory
    model_flops: float
    """FLOPs of a step over all GPUs: matrix products forward and backward, causal attention in full (PaLM)."""
    hardware_flops: float
    """The same with what checkpointing computes again."""
    peak_flops_per_s: float | None
    """Dense peak of one GPU for 16-bit products (of the precision, where that is wider)."""

    @property
    def model_tflops_per_gpu(self) -> Quantity:
        """Model FLOPs a second and GPU."""
        return self.time.step_s.per(self.model_flops / self.config.num_gpus / 1e12)

    @property
    def mfu(self) -> Quantity | None:
        """Model FLOPs / (time x peak)."""
        return self._share(self.model_flops)

    @property
    def hfu(self) -> Quantity | None:
        """Executed FLOPs / (time x peak)."""
        return self._share(self.hardware_flops)

    @property
    def samples_per_s(self) -> Quantity:
        """Sequences a second, over all GPUs."""
        return self.time.step_s.per(self.config.global_batch)

    def _share(self, flops: float) -> Quantity | None:
        if self.peak_flops_per_s is None:
            return None
        return self.time.step_s.per(flops / self.config.num_gpus / self.peak_flops_per_s)


def estimate_model(model: str, *, options: Mapping[str, object]) -> ModelRun:
    """Estimate a run of a model that is transcribed in ``models/``, or of a config.json on disk.

    ``options`` has the columns of a table of runs; of these ``gpu`` is required, ``num_gpus`` is 1 where it is missing.

    >>> run = estimate_model("llama3-8b", options={"gpu": "h100-sxm-80gb", "num_gpus": 64, "zero_stage": 3})
    >>> 0.3 < run.mfu.expected < 0.65
    True

    Raises:
        UsageError: For a model that is not known, or a layout that cannot be.
        UnknownGpuError: If there is no such GPU.
    """
    dims = _dims(model)
    row = {name: str(value) for name, value in options.items() if value is not None}
    assumptions: list[str] = []
    row = {"num_gpus": "1", "tp": "1", "pp": "1", "micro_batch": "1", **_sizes(dims), **row}
    gpu_row(row.get("gpu", ""))  # a name of a row here, not the words of a table
    row["gpu_memory_gb"] = ""
    if "seq_len" not in row:
        row["seq_len"] = str(_USUAL_SEQ_LEN)
        assumptions.append(f"sequences of {_USUAL_SEQ_LEN} tokens")
    if "global_batch" not in row:
        row["global_batch"] = str(_usual_batch(row))
        assumptions.append(f"global batch {row['global_batch']}")
    config = run_config_from_row(row)
    config = replace(config, model=dims, assumptions=(*assumptions, *config.assumptions))
    return model_run(config)


def model_run(config: RunConfig) -> ModelRun:
    """Estimate a run that is described already."""
    model = config.model
    attention = 12.0 * model.layers * model.attention_width * config.seq_len
    flops = (6.0 * model.active_matmul_parameters + attention) * config.step_tokens
    again = {"full": 2.0 * model.active_layer_parameters + attention / 3, "selective": attention / 3}
    peak = config.gpu.peak_tflops({"fp8": "bf16", "nvfp4": "bf16"}.get(config.precision, config.precision))
    return ModelRun(
        config=config, time=estimate_run_time(config), memory=estimate_run_memory(config), model_flops=flops,
        hardware_flops=flops + again.get(config.checkpointing, 0.0) * config.step_tokens,
        peak_flops_per_s=None if peak is None else peak * 1e12,
    )  # fmt: skip


def _dims(model: str) -> ModelDims:
    path = Path(model)
    if path.suffix == ".json" or path.is_dir():
        return dims_from_hf_config(path / "config.json" if path.is_dir() else path)
    return model_row(model)


def _sizes(dims: ModelDims) -> dict[str, str]:
    # Heads of another width than hidden / heads are put back with the dimensions of the model.
    heads = dims.heads if dims.hidden % dims.heads == 0 else 1
    sizes = {"layers": dims.layers, "hidden": dims.hidden, "heads": heads, "ffn_hidden": dims.ffn_hidden}
    return {
        "model": dims.name,
        **{name: str(value) for name, value in sizes.items()},
        "vocab": str(dims.vocabulary or ""),
    }


def _usual_batch(row: Mapping[str, str]) -> int:
    try:
        ranks, micro = int(row["num_gpus"]), int(row["micro_batch"])
        degrees = [int(row.get(name) or 1) for name in ("tp", "pp", "cp")]
    except ValueError as error:
        raise UsageError(f"A size is not a whole number: {error}.", where="the layout") from error
    if min(ranks, micro, *degrees) < 1:
        raise UsageError("Sizes and degrees must be at least 1.", where="the layout")
    dp = max(1, ranks // (degrees[0] * degrees[1] * degrees[2]))
    return dp * micro * (_USUAL_MICRO_BATCHES * degrees[1] if degrees[1] > 1 else 1)
