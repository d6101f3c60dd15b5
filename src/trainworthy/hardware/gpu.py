"""One GPU: what the driver reports, what the datasheet states, and the facts that must imply it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trainworthy.hardware.architecture import Architecture


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """How a GPU talks to its neighbours or to the host."""

    name: str
    gb_per_s_per_direction: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A row of ``hardware/gpus``. Rates are dense; one multiply-add is 2 FLOPs; None is unknown.

    ``peaks_tflops`` has, for a subset of ``fp64 fp32 tf32 bf16 fp16 fp8 int8 fp16_accumulate_fp16``, the peak of the
    unit that a matrix product of that type runs on, with float32 accumulation unless the name says otherwise. A type
    that the GPU has no such unit for is absent.
    """

    id: str
    """Family-form-memory in lower case, such as ``h100-sxm-80gb``."""
    names: tuple[str, ...]
    """Exact names as drivers report them; the first is what ``torch.cuda.get_device_name`` answers."""
    vendor: str
    """``NVIDIA`` or ``AMD``."""
    architecture: Architecture
    sm_count: int
    """Streaming multiprocessors, or AMD's compute units."""
    memory_bytes: int
    """What the driver reports: ``torch.cuda.get_device_properties(0).total_memory``."""
    memory_bytes_source: str
    memory_kind: str
    memory_gb_per_s: float
    bus_bits: int
    pin_gbit_per_s: float
    l2_bytes: int | None
    boost_mhz: int
    tensor_boost_mhz: int | None
    """The clock the stated tensor rates are for, where it is not ``boost_mhz``."""
    power_w: int | None
    peaks_tflops: Mapping[str, float] = field(hash=False)
    flop_per_clock_per_sm: Mapping[str, int] = field(hash=False)
    gpu_link: Link | None
    host_link: Link | None
    sources: tuple[str, ...]
    notes: str | None
    checked: str
    """The day somebody last compared the row with its sources (ISO date)."""

    @property
    def name(self) -> str:
        """The name that the driver reports."""
        return self.names[0]

    @property
    def compute_capability(self) -> tuple[int, int]:
        """Major and minor, such as ``(9, 0)``."""
        return self.architecture.compute_capability

    @property
    def context_bytes(self) -> int:
        """Modelled memory of the CUDA context; the range and its source are in ``architecture.context``."""
        return self.architecture.context.expected_bytes

    @property
    def usable_memory_bytes(self) -> int:
        """What is left for PyTorch's allocator: driver memory less the modelled context."""
        return self.memory_bytes - self.context_bytes

    @property
    def supports_bf16(self) -> bool:
        """Whether matrix units take bfloat16; older GPUs emulate it."""
        return self.compute_capability >= (8, 0) if self.vendor == "NVIDIA" else "bf16" in self.peaks_tflops

    @property
    def supports_tf32(self) -> bool:
        """Whether float32 products may run as TF32."""
        return self.compute_capability >= (8, 0) if self.vendor == "NVIDIA" else "tf32" in self.peaks_tflops

    def peak_tflops(self, dtype: str) -> float | None:
        """Return the dense peak for ``dtype`` (``"bf16"``, ``"fp32"``, ...), or None if there is no such unit."""
        return self.peaks_tflops.get(dtype)
