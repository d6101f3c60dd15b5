"""What a rehearsal found, as one object: the stable machine interface.

Fields are added, never renamed; their meanings are in the docstring of ``RehearsalResult`` and in
``report/schema.json``. "Unknown" is ``None``, never 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypedDict

from trainworthy.inspect.cluster import ClusterResult
from trainworthy.inspect.receptive_field import LayerField
from trainworthy.inspect.tree import ModuleRow
from trainworthy.tape.memory import HeldStorages, MemoryTimeline
from trainworthy.tape.record import Tape
from trainworthy.tape.totals import LineTotals

SCHEMA_VERSION = 1

Verdict = Literal["fits", "does-not-fit", "failed"]


class Place(TypedDict):
    """A source line and the module that ran there."""

    path: str
    line: int
    module: str


class RankPlace(TypedDict):
    """A source line of one rank of a virtual cluster."""

    rank: int
    path: str | None
    line: int | None


class Finding(TypedDict, total=False):
    """One problem: what, how bad, where, and what to do; ``ranks`` are the lines of the ranks that it concerns."""

    code: str
    severity: str
    message: str
    path: str | None
    line: int | None
    fix: str | None
    ranks: list[RankPlace]


class HostSync(TypedDict, total=False):
    """A line at which the host waits for the device."""

    path: str
    line: int
    what: str
    count: int


class ScriptFailure(TypedDict, total=False):
    """Why the script stopped; ``tensors`` are those of the failing line in words."""

    kind: str
    message: str
    path: str | None
    line: int | None
    code: str
    tensors: list[str]
    fix: str


class StepDetail(TypedDict):
    """Sums over one step; step 0 is what came before training."""

    step: int
    complete: bool
    num_ops: int
    flops: int
    moved_bytes: int
    host_syncs: int


@dataclass(frozen=True, kw_only=True)
class RehearsalResult:
    """Answers of a rehearsal on one GPU.

    A *step* is one optimizer step with all its micro-steps. Amounts "per step" are those of ``measured_step``, the last
    complete one; they are None if the script stopped before it completed a step. FLOPs count the multiply-adds of dot
    products, two each; operations without a formula are in ``unknown_flop_ops`` and in no total.

    ``peak_memory_bytes`` is the memory of live tensors, each rounded up to the 512 bytes in which CUDA's allocator
    counts. ``memory_by_kind_bytes`` adds up to it. What depends on libraries and the allocator is modelled and kept
    apart: ``max_memory_allocated_bytes`` is what ``torch.cuda.max_memory_allocated`` would say (the workspace of
    libraries and the remainders of blocks included); ``reserved_memory_bytes`` is what
    ``torch.cuda.max_memory_reserved`` would say; with ``context_bytes`` (the CUDA context) it has to be within
    ``driver_memory_bytes`` for a script to fit. ``usable_memory_bytes`` is what the context leaves. On a device without
    that allocator, sizes are exact bytes and the modelled figures are None.

    On a virtual cluster all this is of one rank, the fullest or the first that failed; ``cluster`` compares the ranks.
    """

    verdict: Verdict
    gpu: str | None
    gpu_name: str | None = None
    device: str = "cuda:0"
    script: str | None = None
    arguments: list[str] = field(default_factory=list)
    steps: int = 0
    steps_asked: int | None = None
    measured_step: int | None = None
    parameters: int | None = None
    trainable_parameters: int | None = None
    parameter_bytes: int | None = None
    flops_per_step: int | None = None
    model_flops_per_step: int | None = None
    macs_forward: int | None = None
    pointwise_flops_per_step: int | None = None
    flops_by_phase: dict[str, int] = field(default_factory=dict)
    unknown_flop_ops: dict[str, int] = field(default_factory=dict)
    moved_bytes_per_step: int | None = None
    peak_memory_bytes: int = 0
    max_memory_allocated_bytes: int | None = None
    peak_step: int | None = None
    peak_phase: str | None = None
    peak_op: str | None = None
    peak_source: Place | None = None
    memory_by_kind_bytes: dict[str, int] = field(default_factory=dict)
    memory_by_group_bytes: dict[str, int] = field(default_factory=dict)
    workspace_bytes: int | None = None
    reserved_memory_bytes: int | None = None
    context_bytes: int | None = None
    driver_memory_bytes: int | None = None
    usable_memory_bytes: int | None = None
    out_of_memory: dict[str, Any] | None = None
    host_peak_bytes: int | None = None
    host_syncs_per_step: int | None = None
    host_syncs: list[HostSync] = field(default_factory=list)
    collective_bytes_per_step: int | None = None
    cluster: ClusterResult | None = None
    largest_batch: dict[str, Any] | None = None
    compile_requested: bool = False
    seconds: float | None = None
    partial: str | None = None
    steps_detail: list[StepDetail] = field(default_factory=list)
    parameter_groups: list[dict[str, Any]] = field(default_factory=list)
    assumptions: list[str] = field(default_factory=list)
    effects: list[dict[str, Any]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    error: ScriptFailure | None = None
    log_tail: str | None = None
    # What follows is for reports; ``to_dict`` has the module tree and leaves the rest to the tape.
    modules: list[ModuleRow] = field(default_factory=list, repr=False)
    lines: tuple[LineTotals, ...] = field(default=(), repr=False)
    held: tuple[HeldStorages, ...] = field(default=(), repr=False)
    receptive_fields: tuple[LayerField, ...] = field(default=(), repr=False)
    timeline: MemoryTimeline = field(repr=False)
    peak_index: int = field(default=0, repr=False)
    tape: Tape = field(repr=False)
    rank_tapes: dict[int, Tape] = field(default_factory=dict, repr=False)

    @property
    def needed_memory_bytes(self) -> int:
        """Reserved memory and CUDA context: what the card has to have."""
        reserved = self.reserved_memory_bytes
        return (self.peak_memory_bytes if reserved is None else reserved) + (self.context_bytes or 0)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object of the stable machine interface, ``schema_version`` first."""
        out: dict[str, Any] = {"schema_version": SCHEMA_VERSION}
        for each in fields(self):
            if each.name not in _NOT_IN_JSON:
                value = getattr(self, each.name)
                out[each.name] = value.to_dict() if isinstance(value, ClusterResult) else value
        out["modules"] = [row.to_dict() for top in self.modules for row in top.walk()]
        out["receptive_fields"] = [_field_dict(layer) for layer in self.receptive_fields]
        return out

    def _repr_html_(self) -> str:
        from trainworthy.report.notebook import result_html

        return result_html(self)


_NOT_IN_JSON = frozenset(
    {"modules", "lines", "held", "receptive_fields", "timeline", "peak_index", "tape", "rank_tapes"}
)


def _field_dict(layer: LayerField) -> dict[str, Any]:
    return {
        "path": layer.path,
        "class": layer.class_name,
        "receptive_field": [f.size for f in layer.fields],
        "jump": [f.jump for f in layer.fields],
        "start": [f.start for f in layer.fields],
        "output_shape": list(layer.output_shape),
    }
