"""What an estimate says, as one object: the stable machine interface of ``trainworthy estimate``.

Fields are added, never renamed; ``report/estimate_schema.json`` describes them. Unknown is None, never 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal

from trainworthy.estimate.quantity import Quantity

__all__ = [
    "SCHEMA_VERSION", "BoundBy", "CallTime", "Definition", "Estimate", "Fits", "Mode", "Point", "RankTime",
    "RunTotals", "ShareRow", "WhatIf",
]  # fmt: skip

SCHEMA_VERSION = 1

Fits = Literal["yes", "no", "unsure"]
Mode = Literal["eager", "compiled"]
Bounds = Literal["compute", "memory", "latency", "host", "network", "bubble"]
BOUNDS: tuple[Bounds, ...] = ("compute", "memory", "latency", "host", "network", "bubble")


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundBy:
    """Shares of the step's time, which add up to 1.

    compute, memory, latency: the device is busy, and that is what decides how long its kernels take. host, network,
    bubble: the device stands still because launches or batches come too late, a collective is not done, or another
    pipeline stage has not sent its message.
    """

    compute: float
    memory: float
    latency: float
    host: float
    network: float
    bubble: float

    def share(self, name: Bounds) -> float:
        """Return one share by its name."""
        value: float = getattr(self, name)
        return value

    @property
    def largest(self) -> Bounds:
        """What takes most of the time."""
        return max(BOUNDS, key=self.share)

    def to_dict(self) -> dict[str, float]:
        """Return the shares by name."""
        return {name: self.share(name) for name in BOUNDS}


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareRow:
    """The device's time in one part of a step: a phase, a class of operations, a module, a line.

    ``seconds`` is the time of kernels and of what the device stands still for there; ``bound`` is what decides most
    of it.
    """

    name: str
    seconds: float
    share: float
    ops: int
    flops: int
    moved_bytes: int
    compute_s: float
    memory_s: float
    stalled_s: float
    bound: Bounds | None

    def to_dict(self) -> dict[str, Any]:
        """Return the row as plain data."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Operations that are alike, on the roofline: intensity in FLOP/B, rate in TFLOP/s, and all of their time."""

    name: str
    op_class: str
    module: str
    path: str
    line: int
    unit: str
    count: int
    seconds: float
    share: float
    flops_per_byte: float
    tflops: float
    bound: Bounds

    def to_dict(self) -> dict[str, Any]:
        """Return the point as plain data."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTime:
    """Collectives of one line and kind in a step: how long they take and how much of it nothing hides."""

    kind: str
    group: str
    ranks: int
    path: str
    line: int
    phase: str
    calls: int
    payload_bytes: int
    seconds: float
    exposed_s: float

    def to_dict(self) -> dict[str, Any]:
        """Return the row as plain data."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class RankTime:
    """One simulated rank: what it takes alone of a step, and what it waits for."""

    rank: int
    stands_for: int
    step_s: float
    busy_s: float
    host_s: float
    network_s: float
    bubble_s: float

    def to_dict(self) -> dict[str, Any]:
        """Return the row as plain data."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """A change and what it would bring, computed by changing the tape or by rehearsing again.

    ``speedup`` is throughput after over throughput before; ``memory_change_bytes`` is negative where memory is saved,
    None where it is not known. ``origin`` says how it was computed, ``note`` what it stands on.
    """

    name: str
    title: str
    step_s: float
    speedup: float
    memory_change_bytes: int | None
    fits: Fits | None
    origin: Literal["tape", "rehearsed", "model"]
    how: str
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the row as plain data."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTotals:
    """A whole training: so many steps, their time, energy and money."""

    wanted: str
    steps: float
    seconds: Quantity
    energy_kwh: Quantity | None
    money: Quantity | None

    def to_dict(self) -> dict[str, Any]:
        """Return the totals as plain data."""
        return {each.name: _plain(getattr(self, each.name)) for each in fields(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """What a figure means."""

    name: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What one optimizer step of a training costs on a machine, and why.

    A *step* is one optimizer step with all its micro-steps. Every quantity has a lowest, an expected and a highest
    value; ``band`` says what the range stands on. Throughputs are those of all GPUs together unless the name ends in
    ``_per_gpu``. Memory is that of the fullest rank.

    ``peak_memory_bytes`` is of the kind that ``peak_memory_kind`` names; ``needed_memory_bytes`` adds what lies outside
    PyTorch's allocator (CUDA context, buffers of NCCL), and decides ``fits``.
    """

    gpu: str | None
    gpu_name: str | None
    mode: Mode
    source: Literal["script", "tape", "model"] = "script"
    script: str | None = None
    arguments: list[str] = field(default_factory=list)
    world_size: int = 1
    gpus_per_node: int = 1
    calibration: str | None = None
    band: str = ""
    step_time_s: Quantity | None = None
    latency_s: Quantity | None = None
    peak_memory_bytes: Quantity | None = None
    peak_memory_kind: str | None = None
    allocated_memory_bytes: Quantity | None = None
    needed_memory_bytes: Quantity | None = None
    driver_memory_bytes: int | None = None
    fits: Fits = "unsure"
    samples_per_step: float | None = None
    tokens_per_step: float | None = None
    samples_per_s: Quantity | None = None
    tokens_per_s: Quantity | None = None
    tokens_per_s_per_gpu: Quantity | None = None
    model_flops_per_step: float | None = None
    flops_per_step: float | None = None
    model_tflops_per_gpu: Quantity | None = None
    mfu: Quantity | None = None
    hfu: Quantity | None = None
    peak_tflops: float | None = None
    peak_unit: str | None = None
    energy_kwh_per_step: Quantity | None = None
    power_w: Quantity | None = None
    price_per_hour: float | None = None
    money_per_step: Quantity | None = None
    totals: RunTotals | None = None
    bound_by: BoundBy | None = None
    floor_s: float | None = None
    host_s: float | None = None
    data_s: float | None = None
    data_origin: str | None = None
    phases: tuple[ShareRow, ...] = ()
    classes: tuple[ShareRow, ...] = ()
    modules: tuple[ShareRow, ...] = ()
    lines: tuple[ShareRow, ...] = ()
    points: tuple[Point, ...] = ()
    roofs_tflops: dict[str, float] = field(default_factory=dict)
    memory_gb_per_s: float | None = None
    communication: tuple[CallTime, ...] = ()
    ranks: tuple[RankTime, ...] = ()
    what_ifs: tuple[WhatIf, ...] = ()
    largest_batch: dict[str, Any] | None = None
    longest_sequence: dict[str, Any] | None = None
    definitions: tuple[Definition, ...] = ()
    assumptions: list[str] = field(default_factory=list)
    unknown_ops: dict[str, int] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    seconds: float | None = None

    @property
    def num_gpus(self) -> int:
        """How many GPUs take part."""
        return self.world_size

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object of the stable machine interface, ``schema_version`` first."""
        out: dict[str, Any] = {"schema_version": SCHEMA_VERSION}
        for each in fields(self):
            out[each.name] = _plain(getattr(self, each.name))
        return out

    def __str__(self) -> str:
        from trainworthy.report.estimate_text import render_estimate_text

        return render_estimate_text([self], width=0)

    def _repr_html_(self) -> str:
        from trainworthy.report.estimate_notebook import estimate_html

        return estimate_html(self)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    if isinstance(value, Quantity):
        return {"low": value.low, "expected": value.expected, "high": value.high}
    if isinstance(value, Definition):
        return {"name": value.name, "text": value.text}
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
