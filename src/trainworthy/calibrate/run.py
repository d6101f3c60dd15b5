"""Runs all probes and puts the calibration together."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from statistics import median
from typing import Literal

import torch

from trainworthy.calibrate import memory
from trainworthy.calibrate.fit import fit_curves
from trainworthy.calibrate.host import host_costs
from trainworthy.calibrate.load import OtherWork
from trainworthy.calibrate.probe import Call, Measured, probe_signature
from trainworthy.calibrate.probes_gpu import gpu_groups
from trainworthy.calibrate.probes_products import attention_probes, bmm_probes, conv_probes, gemm_probes, rnn_probes
from trainworthy.calibrate.probes_streams import image_probes, layout_probes, list_probes, row_probes, stream_probes
from trainworthy.calibrate.timing import call_time_s
from trainworthy.errors import UnknownGpuError, UsageError
from trainworthy.estimate.machine import Machine, gpu_machine
from trainworthy.hardware.calibration import Calibration, HostCosts

Progress = Callable[[str], None]
_NO_HOST = HostCosts(forward_op_s=0.0, backward_op_s=0.0, optimizer_op_s=0.0, view_s=0.0)


def choose_device(wanted: Literal["cpu", "cuda"] | None) -> Literal["cpu", "cuda"]:
    """Return the device to measure: the GPU if there is one, unless another was asked for.

    Raises:
        UsageError: If a GPU was asked for and PyTorch sees none.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        built = "is built without CUDA" if torch.version.cuda is None else f"is built for CUDA {torch.version.cuda}"
        raise UsageError(
            f"PyTorch sees no GPU here (torch {torch.__version__} {built}).", where="--device cuda",
            fix="Run it on the machine with the GPU, check the driver with nvidia-smi, or pass --device cpu.",
        )  # fmt: skip
    return wanted or ("cuda" if torch.cuda.is_available() else "cpu")


def calibrate(
    *, device: Literal["cpu", "cuda"] = "cpu", threads: int | None = None, progress: Progress = lambda text: None
) -> Calibration:
    """Measure ``device`` for less than a minute; ``progress`` hears what is being measured.

    Raises:
        UsageError: If the device is not there.
    """
    choose_device(device)
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    others, start = OtherWork(), time.perf_counter()
    try:
        with torch.no_grad():
            calibration = _calibrate(device, progress)
    finally:
        torch.set_num_threads(before)
    busy = others.cores(time.perf_counter() - start)
    if busy is not None and busy > 0.25:
        note = f"Other processes kept {busy:.1f} of {os.cpu_count()} cores busy meanwhile; repeat it when idle."
        calibration = replace(calibration, notes=" ".join(filter(None, (calibration.notes, note))))
    return calibration


def _calibrate(device: Literal["cpu", "cuda"], progress: Progress) -> Calibration:
    progress("memory")
    if device == "cpu":
        memory.keep_heap()
    fixed_s = memory.fixed_time_s(device=device)
    bare = Calibration(
        id=calibration_id(device), device=device, device_name=device_name(device), date=date.today().isoformat(),
        torch_version=torch.__version__, threads=torch.get_num_threads(), host_cpu=cpu_name(),
        peaks_tflops=_peaks(device), bandwidth=memory.bandwidth_curve(device=device, fixed_s=fixed_s),
        launch_latency_s=fixed_s, host=_NO_HOST, versions=_versions(device),
        reuse=memory.reuse_curve() if device == "cpu" else (),
    )  # fmt: skip
    measured: list[Measured] = []
    left_out: list[str] = []
    faults: list[float] = []
    for name, probes in _groups(device):
        progress(name)
        measured += _measure(probes, device=device, left_out=left_out)
        if device == "cpu":  # again and again: the system's mood changes
            faults.append(memory.page_fault_s_per_byte(budget_s=0.3))
    if left_out:
        bare = replace(bare, notes=f"{len(left_out)} probes did not run here, the first with: {left_out[0]}")
    if faults:
        bare = replace(bare, page_fault_s_per_byte=median(faults))
    bare = replace(bare, curves=fit_curves(measured, machine=_machine(bare)))
    progress("host")
    with torch.enable_grad():
        host = host_costs(machine=_machine(bare), device=device)
    return replace(bare, host=host)


def _machine(calibration: Calibration) -> Machine:
    """Return the machine of a calibration, with the row of its GPU if there is one."""
    if calibration.device == "cpu":
        return Machine(name=calibration.id, kind="cpu", calibration=calibration)
    try:
        return gpu_machine(calibration.device_name, calibration=calibration)
    except UnknownGpuError:
        return Machine(name=calibration.id, kind="gpu", calibration=calibration)


def _groups(device: str) -> Iterator[tuple[str, Iterable[Call]]]:
    """Yield the groups of probes. The second type has fewer: what it shares with the first need not be seen again."""
    if device == "cuda":
        yield from gpu_groups()
        return
    flops = 6e8
    for dtype, name, few in ((torch.float32, "fp32", 1.0), (torch.bfloat16, "bf16", 0.6)):
        yield (
            f"matrix products, {name}",
            gemm_probes(device=device, dtype=dtype, count=int(260 * few), largest_flops=flops),
        )
        yield (
            f"batched products, {name}",
            bmm_probes(device=device, dtype=dtype, count=int(90 * few), largest_flops=flops / 3),
        )
        for transposed, count in ((False, 500), (True, 60)):
            yield (
                f"{'transposed ' if transposed else ''}convolutions, {name}",
                conv_probes(
                    device=device, dtype=dtype, count=int(count * few * few), largest_flops=flops, transposed=transposed
                ),
            )
        yield (
            f"attention, {name}",
            attention_probes(device=device, dtype=dtype, count=int(50 * few), largest_flops=flops),
        )
        yield f"elementwise, {name}", stream_probes(device=device, dtype=dtype)
        yield f"layouts, {name}", layout_probes(device=device, dtype=dtype)
        yield f"rows, {name}", row_probes(device=device, dtype=dtype)
    yield "images", image_probes(device=device, dtype=torch.float32)
    yield "recurrent layers", rnn_probes(device=device, count=40)
    yield "optimizers", list_probes(device=device)


def _measure(probes: Iterable[Call], *, device: str, left_out: list[str]) -> Iterator[Measured]:
    """Time every probe; on a GPU those that its kernels refuse (a type, a size, memory) are told in ``left_out``."""
    for call in probes:
        try:
            signature = probe_signature(call)
            yield Measured(signature, call_time_s(call, device=device))
        except (RuntimeError, ValueError) as error:
            if device == "cpu":
                raise
            left_out.append(str(error).strip().split("\n")[0][:120])


def _peaks(device: str) -> dict[str, float]:
    """Return the rate of a large square product of each type."""
    side = 1024 if device == "cpu" else 8192
    peaks = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)):
        if name == "fp16" and device == "cpu":
            continue
        a, b = torch.randn(2, side, side, device=device).to(dtype)
        time_s = call_time_s(lambda a=a, b=b: torch.mm(a, b), device=device, budget_s=0.3)  # type: ignore[misc]
        peaks[name] = float(f"{2 * side**3 / time_s / 1e12:.4g}")
    if device == "cuda":
        torch.backends.cuda.matmul.allow_tf32, before = True, torch.backends.cuda.matmul.allow_tf32
        a, b = torch.randn(2, side, side, device=device)
        peaks["tf32"] = float(f"{2 * side**3 / call_time_s(lambda: torch.mm(a, b), device=device) / 1e12:.4g}")
        torch.backends.cuda.matmul.allow_tf32 = before
    return peaks


def cpu_name() -> str:
    """Return the model name that the operating system has for the CPU."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return " ".join(line.split(":", 1)[1].split())
    except OSError:
        pass
    return platform.processor() or platform.machine() or "unknown"


def device_name(device: str) -> str:
    """Return the name that the driver, or the operating system, has for the device."""
    return cpu_name() if device == "cpu" else torch.cuda.get_device_name(0)


def calibration_id(device: str) -> str:
    """Return an id such as ``amd-epyc-2threads`` or that of the GPU's row."""
    from trainworthy.hardware.rows import gpu_row

    name = device_name(device)
    if device != "cpu":
        try:
            return gpu_row(name).id
        except UnknownGpuError:
            pass
    words = "".join(c if c.isalnum() else " " for c in name.lower()).split()
    stem = "-".join(words[:6])
    return stem if device != "cpu" else f"{stem}-{torch.get_num_threads()}threads"


def _versions(device: str) -> dict[str, str]:
    versions = {"python": platform.python_version(), "system": platform.system().lower()}
    if device == "cuda":
        versions["cuda"] = str(torch.version.cuda)
    return versions
