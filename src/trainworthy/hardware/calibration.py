"""What was measured on one machine: curves of time over size, memory bandwidth, latencies, what the host spends an op.

A calibration belongs to a device (one GPU, or a CPU with a number of threads), a version of torch and a day. It is a
TOML file; see docs/calibrate.md for what is measured and how.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple


class Sample(NamedTuple):
    """One measurement: the features of an operation (sizes, as the estimate computes them) and its time."""

    features: tuple[float, ...]
    time_s: float


class BandwidthPoint(NamedTuple):
    """Bytes moved per second when the data of an operation takes ``working_set_bytes``."""

    working_set_bytes: float
    gb_per_s: float


class ReusePoint(NamedTuple):
    """What a byte costs more, once, if ``distance_bytes`` of other memory were touched since its last use."""

    distance_bytes: float
    s_per_byte: float


class RefillPoint(NamedTuple):
    """What takes longer, once, after ``distance_bytes`` of data went through the caches.

    They drive the host's own code and data out: those of a bare operator, or of the call of a module that issues one.
    And those of a library's kernel: code, packed operands, blocked copies.
    """

    distance_bytes: float
    op_s: float
    call_s: float
    product_s: float = 0.0
    """A matrix product, beside what its operands' bytes cost."""
    convolution_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Measurements of one family of kernels and the interpolant through them; see ``estimate/curves.py``."""

    samples: tuple[Sample, ...]
    weights: tuple[float, ...] = ()
    """Of the interpolant, one a sample; empty: straight lines through samples of a single feature."""
    length_scales: tuple[float, ...] = ()
    mean_log_ratio: float = 0.0
    """Of measured to roofline time, over all samples: what is assumed far from all of them."""
    typical_error: float | None = None
    """Median relative error when each sample is predicted from the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCosts:
    """Seconds that the host spends to issue an operation, beside the kernel itself."""

    forward_op_s: float
    """An operation called from Python with autograd recording it."""
    backward_op_s: float
    """An operation that the autograd engine runs."""
    optimizer_op_s: float
    """An operation of an optimizer's Python loop."""
    view_s: float
    """An operation that moves no data."""
    step_s: float = 0.0
    """What a step costs once, whatever its operations: entering the engine, the optimizer's hooks."""
    by_op: Mapping[str, float] = field(default_factory=dict, hash=False)
    """GPU: an operation by ``phase/name``; of an optimizer's kernels (``optimizer/foreach``) for each tensor.
    CPU: ``forward/loop`` and ``backward/loop``, where C++ issues operations in a row. Below 0 where that takes less
    than the call from Python that is in the time of each measured kernel."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # by identity: rows are large
class Calibration:
    """Everything measured on one device; None is not measured."""

    id: str
    device: Literal["cpu", "cuda"]
    device_name: str
    """As the driver or ``/proc/cpuinfo`` prints it."""
    date: str
    torch_version: str
    threads: int
    """Of the host, as ``torch.get_num_threads`` said."""
    host_cpu: str
    peaks_tflops: Mapping[str, float] = field(hash=False)
    """The best matrix product of each type."""
    bandwidth: tuple[BandwidthPoint, ...]
    launch_latency_s: float
    """CPU: a kernel's fixed part; GPU: from a launch to the next on a busy stream."""
    host: HostCosts
    page_fault_s_per_byte: float | None = None
    """CPU: first touch of memory fresh from the operating system."""
    reuse: tuple[ReusePoint, ...] = ()
    """CPU: by distance, rising."""
    refill: tuple[RefillPoint, ...] = ()
    """CPU: by distance, rising."""
    curves: Mapping[str, Curve] = field(default_factory=dict, hash=False)
    versions: Mapping[str, str] = field(default_factory=dict, hash=False)
    pace_drift: float | None = None
    """By how much the same kernels took longer in slow than in fast times of the calibration (deciles)."""
    pace_s: tuple[float, float] | None = None
    """What those kernels took, a product and a pass over an array: medians."""
    notes: str | None = None
