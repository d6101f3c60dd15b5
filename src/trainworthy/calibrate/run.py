"""Runs all probes and puts the calibration together."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from math import inf
from pathlib import Path
from statistics import median
from typing import Literal

import torch

from trainworthy.calibrate import memory
from trainworthy.calibrate.anchors import drift, usual_pace_s
from trainworthy.calibrate.fit import fit_curves
from trainworthy.calibrate.host import cpu_host_costs
from trainworthy.calibrate.host_gpu import gpu_host_costs
from trainworthy.calibrate.load import OtherWork
from trainworthy.calibrate.probes_cpu import cpu_groups
from trainworthy.calibrate.probes_gpu import gpu_groups
from trainworthy.calibrate.schedule import take_turns
from trainworthy.calibrate.session import Session
from trainworthy.calibrate.timing import call_time_s
from trainworthy.errors import UnknownGpuError, UsageError
from trainworthy.estimate.machine import Machine, gpu_machine
from trainworthy.hardware.calibration import Calibration, HostCosts

BUDGET_S = 50.0
"""Under a minute with what comes before and after it: imports, writing the file."""
_AFTERWARDS = 0.15  # of the budget: fitting the curves, and the host, which needs them
_CPU_TURN_S = 0.4  # a GPU's turns take as long as they may: its probes hold much of its memory

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
    *, device: Literal["cpu", "cuda"] = "cpu", threads: int | None = None, budget_s: float = BUDGET_S,
    progress: Progress = lambda text: None,
) -> Calibration:  # fmt: skip
    """Measure ``device`` for about ``budget_s``; ``progress`` hears what is being measured.

    Raises:
        UsageError: If the device is not there, or other processes keep the machine too busy to be measured.
    """
    choose_device(device)
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    others, start = OtherWork(), time.perf_counter()
    try:
        with torch.no_grad():
            calibration = _calibrate(device, budget_s, progress)
    finally:
        torch.set_num_threads(before)
    busy = others.cores(time.perf_counter() - start)
    if busy is not None and busy > 0.25:
        note = f"Other processes kept {busy:.1f} of {os.cpu_count()} cores busy meanwhile; repeat it when idle."
        calibration = replace(calibration, notes=" ".join(filter(None, (calibration.notes, note))))
    return calibration


def _calibrate(device: Literal["cpu", "cuda"], budget_s: float, progress: Progress) -> Calibration:
    end = time.perf_counter() + budget_s
    progress("memory")
    bare = _bare(device)
    session = Session(device=device, progress=progress)
    taken = take_turns(
        list(cpu_groups() if device == "cpu" else gpu_groups()), work=session.measure, begin_turn=session.begin_turn,
        budget_s=end - _AFTERWARDS * budget_s - time.perf_counter(), turn_s=_CPU_TURN_S if device == "cpu" else inf,
    )  # fmt: skip
    session.refuse_if_busy()
    progress("curves")
    bare = replace(
        bare, page_fault_s_per_byte=median(session.faults) if session.faults else None,
        pace_drift=drift(session.paces), pace_s=usual_pace_s(session.paces), reuse=session.reuse(),
        refill=session.refill(),
        notes=" ".join(session.notes(taken, budget_s=budget_s)) or None,
    )  # fmt: skip
    machine = _machine(bare)
    bare = replace(bare, curves=fit_curves(session.at_usual_pace(machine), machine=machine))
    progress("host")
    with torch.enable_grad():
        if device == "cpu":
            host = cpu_host_costs(machine=_machine(bare), budget_s=end - time.perf_counter())
        else:
            host = gpu_host_costs(session.networks(), device=device)
    return replace(bare, host=host)


def _bare(device: Literal["cpu", "cuda"]) -> Calibration:
    """Measure everything but the curves and the host."""
    if device == "cpu":
        memory.keep_heap()
    fixed_s = memory.fixed_time_s(device=device)
    return Calibration(
        id=calibration_id(device), device=device, device_name=device_name(device), date=date.today().isoformat(),
        torch_version=torch.__version__, threads=torch.get_num_threads(), host_cpu=cpu_name(),
        peaks_tflops=_peaks(device), bandwidth=memory.bandwidth_curve(device=device, fixed_s=fixed_s),
        launch_latency_s=fixed_s, host=_NO_HOST, versions=_versions(device),
    )  # fmt: skip


def _machine(calibration: Calibration) -> Machine:
    """Return the machine of a calibration, with the row of its GPU if there is one."""
    if calibration.device == "cpu":
        return Machine(name=calibration.id, kind="cpu", calibration=calibration)
    try:
        return gpu_machine(calibration.device_name, calibration=calibration)
    except UnknownGpuError:
        return Machine(name=calibration.id, kind="gpu", calibration=calibration)


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
