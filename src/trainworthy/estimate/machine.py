"""A machine that operations run on: a row of ``hardware/`` and what is known of how much of it is reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trainworthy.errors import UsageError
from trainworthy.estimate import gpu_defaults
from trainworthy.estimate.kernel_rates import DEFAULT_RATES, KernelRates
from trainworthy.hardware.calibration import Calibration, HostCosts
from trainworthy.hardware.cpus import Cpu, cpu_row
from trainworthy.hardware.gpu import Gpu
from trainworthy.hardware.rows import gpu_row

# Types as torch names them, by the name of the unit that multiplies them.
_UNITS = {
    "float64": "fp64", "float32": "fp32", "bfloat16": "bf16", "float16": "fp16", "float8_e4m3fn": "fp8",
    "float8_e5m2": "fp8", "float8_e4m3fnuz": "fp8", "float8_e5m2fnuz": "fp8", "int8": "int8",
    "complex64": "fp32", "complex128": "fp64",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # by identity: it is a key of caches
class Machine:
    """One device and its host.

    ``matmul_tf32`` and ``conv_tf32`` say whether float32 products may run as TF32: PyTorch allows it for convolutions
    but not for matrix products unless told so (``torch.backends.cuda.matmul.allow_tf32``).
    """

    name: str
    kind: Literal["gpu", "cpu"]
    gpu: Gpu | None = None
    cpu: Cpu | None = None
    calibration: Calibration | None = None
    matmul_tf32: bool = False
    conv_tf32: bool = True
    rates: KernelRates = DEFAULT_RATES

    def unit(self, dtype: str, *, conv: bool = False) -> str:
        """Return the unit that multiplies ``dtype`` (a name of torch's) here, such as ``"bf16"`` or ``"tf32"``."""
        unit = _UNITS.get(dtype, "fp32")
        if unit == "fp32" and self.gpu is not None and (self.conv_tf32 if conv else self.matmul_tf32):
            return "tf32" if self.gpu.supports_tf32 else unit
        return unit

    def peak_tflops(self, unit: str) -> float | None:
        """Return the stated dense peak of a unit; a CPU without a row has what was measured."""
        row = self.gpu or self.cpu
        if row is None:
            return self.achievable_tflops(unit)
        return row.peak_tflops(unit)

    def achievable_tflops(self, unit: str) -> float | None:
        """Return the rate that the best matrix product reaches: measured, or a documented share of the peak."""
        if self.calibration is not None and unit in self.calibration.peaks_tflops:
            return self.calibration.peaks_tflops[unit]
        if self.gpu is not None:
            peak = self.gpu.peak_tflops(unit)
            return None if peak is None else peak * gpu_defaults.gemm_share(self.gpu, unit)
        peak = None if self.cpu is None else self.cpu.peak_tflops(unit)
        return None if peak is None else peak * 0.7  # half to nine tenths in published runs of LINPACK and of oneDNN

    @property
    def memory_gb_per_s(self) -> float:
        """Bandwidth that streaming reaches from memory: measured, or a documented share of what is stated."""
        if self.calibration is not None and self.calibration.bandwidth:
            return self.calibration.bandwidth[-1].gb_per_s
        if self.gpu is not None:
            return self.gpu.memory_gb_per_s * gpu_defaults.triad_share(self.gpu)
        assert self.cpu is not None
        return self.cpu.memory_gb_per_s * 0.8

    @property
    def host(self) -> HostCosts:
        """What the host spends to issue an operation."""
        return gpu_defaults.HOST if self.calibration is None else self.calibration.host

    @property
    def launch_latency_s(self) -> float:
        """The fixed part of a kernel."""
        if self.calibration is not None:
            return self.calibration.launch_latency_s
        return gpu_defaults.LAUNCH_LATENCY_S if self.kind == "gpu" else 1e-6


def gpu_machine(
    gpu: Gpu | str,
    *,
    calibration: Calibration | None = None,
    matmul_tf32: bool = False,
    conv_tf32: bool = True,
    rates: KernelRates = DEFAULT_RATES,
) -> Machine:
    """Return the machine of a GPU: a row, or the id or driver name of one.

    >>> machine = gpu_machine("a100-sxm-80gb")
    >>> machine.unit("float32"), machine.unit("float32", conv=True), round(machine.memory_gb_per_s)
    ('fp32', 'tf32', 1774)

    Raises:
        UnknownGpuError: If there is no such row.
    """
    row = gpu_row(gpu) if isinstance(gpu, str) else gpu
    return Machine(
        name=row.id,
        kind="gpu",
        gpu=row,
        calibration=calibration,
        matmul_tf32=matmul_tf32,
        conv_tf32=conv_tf32,
        rates=rates,
    )


def cpu_machine(cpu: Cpu | str | None = None, *, calibration: Calibration | None = None) -> Machine:
    """Return the machine of a CPU: a calibration, a row, or both.

    Raises:
        UnknownCpuError: If there is no such row.
        UsageError: If neither is given.
    """
    if cpu is None and calibration is None:
        raise UsageError("Nothing is known of this CPU.", fix="Run `trainworthy calibrate` on it, or name a row.")
    row = cpu_row(cpu) if isinstance(cpu, str) else cpu
    name = calibration.id if row is None and calibration is not None else row.id if row is not None else "cpu"
    return Machine(name=name, kind="cpu", cpu=row, calibration=calibration)
