"""Which machine a name means, with its calibration where there is one."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from trainworthy.errors import UnknownGpuError, UsageError

if TYPE_CHECKING:
    from trainworthy.estimate.machine import Machine
    from trainworthy.hardware.calibration import Calibration
    from trainworthy.tape.record import Tape

__all__ = ["is_cpu", "machine_named", "named_of", "without_this"]


def is_cpu(name: str | None) -> bool:
    """Whether a name means a CPU: ``cpu``, or the id or model name of a CPU's row."""
    if name is None:
        return False
    from trainworthy.errors import UnknownCpuError
    from trainworthy.hardware import cpu_row

    if name.casefold() == "cpu":
        return True
    try:
        cpu_row(name)
    except UnknownCpuError:
        return False
    return True


def without_this(name: str) -> str:
    """Resolve ``this``: the GPU that was calibrated beside this machine's CPU, or else the CPU itself."""
    if name.casefold() != "this":
        return name
    from trainworthy.hardware.calibrations import calibration_rows

    here = this_cpu()
    rows = [row for row in calibration_rows().values() if row.device == "cuda" and row.host_cpu == here]
    return max(rows, key=lambda row: row.date).device_name if rows else "cpu"


def machine_named(name: str, *, notes: dict[str, Any] | None = None) -> Machine:
    """Return the machine with that name: ``cpu``, a CPU row, or a GPU row or driver name.

    Args:
        name: What the user wrote.
        notes: The notes of a tape: whether products may run as TF32.

    Raises:
        UnknownGpuError: If nothing has that name.
        UsageError: If this machine is meant, and was not calibrated.
    """
    from trainworthy.estimate.machine import cpu_machine, gpu_machine
    from trainworthy.hardware import cpu_row, gpu_row

    notes = notes or {}
    if is_cpu(name):
        here = name.casefold() == "cpu"
        calibration = _calibration("cpu", (this_cpu(),) if here else cpu_row(name).names)
        if here and calibration is None:
            raise UsageError(
                "This CPU was not calibrated, and nothing is known of it.", where="--gpu cpu",
                fix="Run `trainworthy calibrate` (about a minute), or name a CPU row such as xeon-8480plus.",
            )  # fmt: skip
        return cpu_machine(None if here else name, calibration=calibration)
    try:
        row = gpu_row(name)
    except UnknownGpuError as error:
        raise UnknownGpuError(
            error.message, where=error.where, fix=f"{error.fix} `--gpu cpu` is this machine's CPU, once calibrated."
        ) from error
    calibration = _calibration("cuda", row.names)
    return gpu_machine(
        row, calibration=calibration, matmul_tf32=bool(notes.get("matmul_tf32", False)),
        conv_tf32=bool(notes.get("conv_tf32", True)),
    )  # fmt: skip


def named_of(tape: Tape) -> str | None:
    """Return the GPU that a tape was rehearsed on, or what it was recorded on."""
    gpu = tape.notes.get("gpu")
    if gpu:
        return str(gpu)
    return "cpu" if tape.device == "cpu" else None


def this_cpu() -> str:
    """Return the name of this machine's CPU as ``/proc/cpuinfo`` prints it; empty where it is not known."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()


def _calibration(device: str, names: Sequence[str]) -> Calibration | None:
    """Return the latest calibration of a device with one of these names; None if there is none."""
    from trainworthy.hardware.calibrations import calibration_rows

    wanted = {" ".join(name.split()).casefold() for name in names if name}
    rows = [
        row
        for row in calibration_rows().values()
        if row.device == device and " ".join(row.device_name.split()).casefold() in wanted
    ]
    return max(rows, key=lambda row: row.date, default=None)
