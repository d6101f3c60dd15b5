"""Step time, throughput and memory of rows of a table of ordinary models on one GPU (or a few), without torch.

A row names a model, a GPU, a precision and a batch. The model's profile gives the operators of a step, each takes the
time that ``op_cost`` says, the device and the host work side by side, and what several GPUs exchange in the backward
pass is hidden behind it as far as it goes. Measured columns are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from trainworthy.errors import TrainworthyError
from trainworthy.estimate import single_gpu_tables as tables
from trainworthy.estimate.machine import Machine, gpu_machine
from trainworthy.estimate.op_cost import op_time
from trainworthy.estimate.profile_memory import RecordedMemory, recorded_memory
from trainworthy.estimate.profiles import ProfiledStep, has_variant, profiled_step
from trainworthy.estimate.published_rates import AS_ITS_ROW, NO_RATES, GpuScales, published_rates, workload_factor
from trainworthy.estimate.quantity import Quantity
from trainworthy.estimate.single_gpu_memory import fits, memory_of
from trainworthy.hardware.rows import gpu_rows

# What several GPUs of a node exchange a second, each way, in an all-reduce: FACTS of NCCL (bus bandwidths measured by
# nccl-tests: A100 229 GB/s, V100 134 GB/s); PCIe cards share a host bridge.
_BUS_GB_PER_S = {"h": 370.0, "a": 229.0, "v": 130.0, "b": 600.0}
_PCIE_GB_PER_S = 12.0
_PAGEABLE_BYTES_PER_S = 4e9  # copies from memory that is not pinned go through a buffer of the driver
_HIDDEN_SHARE = 0.6  # of the backward pass can hide gradients: the last buckets are ready when it ends

# Half and double: what 9 in 10 rows of the published tables keep to without and with scales of the GPU (see docs).
_SPREAD_UNCALIBRATED, _SPREAD = 1.6, 1.35


class StepParts(NamedTuple):
    """Seconds of a step: by what bounds each operator on the device, of the host, and of what is outside of both."""

    compute_s: float
    memory_s: float
    latency_s: float
    host_s: float
    backward_s: float
    """Of the device, in the backward pass."""
    outside_s: float = 0.0
    """Copies and exchange that nothing hides."""

    def step_s(self, *, scales: GpuScales = AS_ITS_ROW, host_scale: float = 1.0, factor: float = 1.0) -> float:
        """Return the time of the step: the host runs ahead of the device, so the slower of the two decides."""
        device_s = self.compute_s / scales.compute + self.memory_s / scales.memory + self.latency_s
        return max(factor * device_s, host_scale * self.host_s) + self.outside_s


class SingleGpuPrediction(NamedTuple):
    """What is predicted of a row; None where nothing can be said, and then ``reason`` says why."""

    step_time_s: Quantity | None
    throughput: float | None
    """In the row's own unit, all GPUs together."""
    peak_memory_bytes: Quantity | None
    """Of the row's own ``memory_kind``."""
    fits: str | None
    reason: str
    calibrated: bool = False


def is_single_gpu_table(columns: Iterable[str]) -> bool:
    """Tell whether a table has the columns of single_gpu.csv.

    >>> is_single_gpu_table(["id", "model", "gpu", "precision", "batch_per_gpu", "seq_len_or_img", "method"])
    True
    """
    return {"model", "gpu", "precision", "batch_per_gpu", "seq_len_or_img"} <= set(columns)


def predict_single_gpu_row(row: Mapping[str, str], *, calibrated: bool = True) -> SingleGpuPrediction:
    """Predict a row; an unknown model, GPU, precision or batch gives an empty prediction with the reason."""
    try:
        return _predict(row, calibrated=calibrated)
    except (TrainworthyError, ValueError, KeyError, OverflowError) as error:
        return _nothing(f"{type(error).__name__}: {error}")


def _nothing(reason: str) -> SingleGpuPrediction:
    return SingleGpuPrediction(None, None, None, None, reason)


class RowParts(NamedTuple):
    """What a row comes to before any scale: its parts, and the names under which scales are kept."""

    parts: StepParts
    step: ProfiledStep
    gpu: str
    host: str
    workload: str
    items_per_step: float
    batch_stated: bool


def row_parts(row: Mapping[str, str]) -> RowParts | str:
    """Return the parts of a row's step, or the reason why there are none."""
    work, gpu, precision = tables.workload_of(row), tables.gpu_of(row), tables.precision_of(row)
    if work is None:
        return f"no profile of the model {row.get('model', '')!r}"
    if gpu is None or gpu not in gpu_rows():
        return f"no hardware row for the GPU {row.get('gpu', '')!r}"
    if precision is None:
        return f"unknown precision {row.get('precision', '')!r}"
    num_gpus = tables.num_gpus_of(row)
    if num_gpus is None:
        return f"{row.get('num_gpus', '')!r} is no number of GPUs"
    stated = tables.batch_of(row)
    batch = stated or work.usual_batch
    if batch is None:
        return "the batch is not stated"
    step = step_of(row, work, precision, batch)
    if step is None:
        return f"the profile {work.profile} has no variant for this task"
    machine = gpu_machine_of(gpu, precision)
    parts = step_parts(step, machine=machine, accumulation=tables.accumulation_of(row))
    outside_s = exposed_exchange_s(step, parts, gpu, num_gpus) / tables.accumulation_of(row)
    outside_s += tables.copied_bytes(row, batch) / _PAGEABLE_BYTES_PER_S
    host = f"{row.get('framework', '')} {'train' if step.trains else 'infer'}"
    kind = row.get("model", "") if work.own_factor else f"{row.get('framework', '')} {row.get('task', '')}"
    key = f"{kind.strip()} {_precision_name(gpu, precision)}"
    return RowParts(
        parts._replace(outside_s=outside_s), step, gpu, host, key,
        num_gpus * batch * work.items_per_sample, stated is not None,
    )  # fmt: skip


def _precision_name(gpu: str, precision: tables.Precision) -> str:
    if precision.variant == "fp32" and precision.matmul_tf32 and gpu_rows()[gpu].supports_tf32:
        return precision.replaced_dtype or "tf32"
    return precision.replaced_dtype or precision.variant


def _predict(row: Mapping[str, str], *, calibrated: bool) -> SingleGpuPrediction:
    found = row_parts(row)
    if isinstance(found, str):
        return _nothing(found)
    rates = published_rates() if calibrated else NO_RATES
    seconds = found.parts.step_s(
        scales=rates.gpus.get(found.gpu, AS_ITS_ROW), host_scale=rates.hosts.get(found.host, 1.0),
        factor=workload_factor(rates, found.workload),
    )  # fmt: skip
    known = found.gpu in rates.gpus
    spread = _SPREAD if known else _SPREAD_UNCALIBRATED
    kind, full = row.get("memory_kind", ""), tables.fills_the_card(row)
    recorded = _recorded(row, found.step)
    stated = found.batch_stated
    memory = memory_of(found.step, gpu=found.gpu, kind=kind, fills=full, recorded=recorded) if stated or full else None
    fit = fits(found.step, gpu=found.gpu, recorded=recorded) if stated else None
    return SingleGpuPrediction(
        Quantity(seconds / spread, seconds, seconds * spread), found.items_per_step / seconds, memory, fit,
        "" if found.batch_stated else "the batch is not stated: the benchmark's usual one is taken", calibrated=known,
    )  # fmt: skip


def _recorded(row: Mapping[str, str], step: ProfiledStep) -> RecordedMemory | None:
    """Return what the row's own program reserved with the software of its time, if both are known."""
    work, precision, batch = tables.workload_of(row), tables.precision_of(row), tables.batch_of(row)
    if not (work and precision and batch and step.trains and tables.keeps_as_in_2020(row)):
        return None
    return recorded_memory(work.profile, variant=f"train-{precision.variant}", batch=batch)


def step_of(
    row: Mapping[str, str], work: tables.Workload, precision: tables.Precision, batch: int
) -> ProfiledStep | None:
    """Return the operators of the row's step, or None if the profile lacks the task or precision."""
    task = "infer" if "infer" in row.get("task", "") else "train"
    if work.half and precision.variant == "amp":
        precision = replace(precision, variant="fp32", replaced_dtype="float16")
    variant = f"{task}-{precision.variant}"
    if not has_variant(work.profile, variant):
        return None
    sequence = tables.sequence_of(row, work.sequence)
    return profiled_step(
        work.profile, variant=variant, batch=batch, sequence=sequence, replaced_dtype=precision.replaced_dtype
    )


@lru_cache(maxsize=256)
def gpu_machine_of(gpu: str, precision: tables.Precision) -> Machine:
    """Return the machine of a hardware row for a precision."""
    return gpu_machine(gpu, matmul_tf32=precision.matmul_tf32, conv_tf32=precision.conv_tf32)


def step_parts(step: ProfiledStep, *, machine: Machine, accumulation: int = 1) -> StepParts:
    """Sum the times of a step's operators; the optimizer's count once in ``accumulation`` steps."""
    compute_s = memory_s = latency_s = host_s = backward_s = 0.0
    for count, phase, signature in step.ops:
        time = op_time(signature, machine=machine, phase=phase, training=step.trains)
        times = count / accumulation if phase == "optimizer" else count
        if time.compute_s >= time.memory_s:
            compute_s += times * time.compute_s
        else:
            memory_s += times * time.memory_s
        latency_s += times * time.latency_s
        host_s += times * time.host_s * (2 if signature.name.startswith("convolution_backward") else 1)
        backward_s += times * time.device_s if phase == "backward" else 0.0
    host_s += machine.host.view_s * sum(step.views.values())
    return StepParts(compute_s, memory_s, latency_s, host_s, backward_s)


def exposed_exchange_s(step: ProfiledStep, parts: StepParts, gpu: str, num_gpus: int) -> float:
    """Return what data parallelism adds: the all-reduce of float32 gradients beyond what the backward pass hides."""
    if num_gpus <= 1 or not step.trains:
        return 0.0
    bus = _BUS_GB_PER_S.get(gpu[0], _PCIE_GB_PER_S) if "sxm" in gpu else _PCIE_GB_PER_S
    seconds = 2 * (num_gpus - 1) / num_gpus * 4.0 * step.parameters / (bus * 1e9)
    return max(0.1 * seconds, seconds - _HIDDEN_SHARE * parts.backward_s)
