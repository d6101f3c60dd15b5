"""The tape as plain, immutable, versioned data; nothing here needs torch.

A tape is a list of segments, one for each optimizer step (segment 0 is everything before the
first step's data: construction). A segment is a sequence of nodes: a ``Leaf`` is one operation, a
``Repeat`` is a run of identical blocks. What is equal for every repetition of an operation is
interned in a ``Row``; what differs (layer index, storage numbers) are small integers that grow
linearly from one repetition to the next, so folding loses nothing:

    Tape ─ segments ─ Segment(step) ─ nodes ─ Leaf(row, ints) | Repeat(count, body, increments)
      │                                          │
      └── tables: rows ── signature (name, shapes, FLOPs, bytes) ── source ── module ── storage classes

Storages are described where they are born and where they die: a row lists the classes of the
storages that come alive with the operation (before it runs) and of those that die after it, before
the next one. Memory over time therefore needs no second table (see ``memory.py``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from trainworthy.tape.nodes import Node, count_ops, count_rows

if TYPE_CHECKING:
    from pathlib import Path

    from trainworthy.tape.memory import MemoryTimeline
    from trainworthy.tape.totals import LineTotals, ModuleTotals

SCHEMA_VERSION = 2  # 2: process groups have a table of their own

Phase = Literal["data", "forward", "loss", "recompute", "backward", "optimizer", "other"]
Kind = Literal[
    "parameter",
    "buffer",
    "gradient",
    "optimizer_state",
    "activation",
    "input",
    "workspace",
    "temporary",
]
PHASES: tuple[Phase, ...] = get_args(Phase)
KINDS: tuple[Kind, ...] = get_args(Kind)


class Source(NamedTuple):
    """A place in the user's code; ``library`` is the innermost line outside torch, if another."""

    path: str
    line: int
    function: str = ""
    library: str | None = None

    def __str__(self) -> str:
        return f"{self.path}:{self.line}" if self.path else "?"


class TensorMeta(NamedTuple):
    """Everything about a tensor but its identity."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: str
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorInfo:
    """A tensor as an operation saw it; ``storage`` numbers are unique within a tape."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: str
    device: str
    storage: int
    kind: Kind


CollectiveKind = Literal[
    "all_reduce",
    "all_gather",
    "reduce_scatter",
    "all_to_all",
    "broadcast",
    "reduce",
    "gather",
    "scatter",
    "send",
    "recv",
    "barrier",
]
COLLECTIVE_KINDS: tuple[CollectiveKind, ...] = get_args(CollectiveKind)


class ProcessGroup(NamedTuple):
    """A group of processes that communicate; ``ranks`` are global, in the order of the group.

    ``name`` is what the script or a device mesh calls it (``"world"``, ``"dp"``, ``"mesh_tp"``).
    """

    name: str
    ranks: tuple[int, ...]
    backend: str


class Collective(NamedTuple):
    """What one rank does in a collective, or in a send or receive.

    ``group`` indexes ``Tape.groups``. ``bytes_in`` is what the rank puts in, ``bytes_out`` what it
    holds as the result: N times as much after an all-gather over N ranks, one Nth after a
    reduce-scatter. ``peer`` is a global rank: the root of a broadcast, reduce, gather or scatter,
    the other end of a send or receive. A collective that ``is_async`` is waited for by a later
    operation whose name ends in ``wait`` or ``wait_tensor`` and whose inputs are its results.
    """

    kind: CollectiveKind
    group: int
    bytes_in: int
    bytes_out: int
    dtype: str
    reduce_op: str | None = None
    peer: int | None = None
    is_async: bool = False


class Signature(NamedTuple):
    """What is the same for every call of an operation with these shapes.

    ``flops`` counts the multiply-adds of dot products (matmul, convolution, attention, RNN), two
    FLOPs each; it is ``None`` when the operation has no formula. ``pointwise_flops`` counts
    elementwise, reduction and normalisation arithmetic. ``recompute_flops`` is the part of
    ``flops`` that repeats work of the forward pass inside the kernel (fused attention backward).
    """

    name: str
    inputs: tuple[TensorMeta, ...]
    outputs: tuple[TensorMeta, ...]
    flops: int | None
    pointwise_flops: int
    recompute_flops: int
    moved_bytes: int
    host_syncs: int = 0
    collective: Collective | None = None


class StorageClass(NamedTuple):
    """Storages that are alike: size, kind, and the line and module that brought them to life."""

    device: str
    kind: Kind
    size_bytes: int
    origin: str
    source: int
    module: int


class Row(NamedTuple):
    """The part of an operation that does not change between repetitions of a block.

    ``module`` indexes the table of module templates (``h.{}.attn``); ``births`` and ``deaths`` are
    indices of storage classes.
    """

    signature: int
    phase: int
    module: int
    source: int
    births: tuple[int, ...]
    deaths: tuple[int, ...]


class Segment(NamedTuple):
    """The operations of one optimizer step; step 0 is what came before the first one."""

    step: int
    complete: bool
    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """One operation, unfolded."""

    index: int
    name: str
    phase: Phase
    step: int
    module: str
    source: Source
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    flops: int | None
    pointwise_flops: int
    recompute_flops: int
    moved_bytes: int
    host_syncs: int
    collective: Collective | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """One storage: alive from operation ``birth`` until before ``death`` (``None``: to the end)."""

    number: int
    size_bytes: int
    device: str
    kind: Kind
    origin: str
    source: Source
    module: str
    birth: int
    death: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleInfo:
    """Modules of the user's model that are alike: one path template, class, size and output.

    ``first`` and ``last`` are the numbers that fill the template's holes for the first and the
    last of ``count`` modules. Parameters are the module's own (children not included); a tensor
    shared by several modules counts as ``parameters`` in the first and as ``tied_parameters`` in
    the others. ``details`` holds kernel_size, stride, padding, dilation, ... of convolutions and
    poolings, and whatever else the class says of itself.
    """

    template: str
    class_name: str
    count: int = 1
    first: tuple[int, ...] = ()
    last: tuple[int, ...] = ()
    parameters: int = 0
    trainable_parameters: int = 0
    tied_parameters: int = 0
    parameter_bytes: int = 0
    output_shape: tuple[int, ...] | None = None
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterGroup:
    """Parameters of one optimizer (or of none) that share dtype, device and memory layout."""

    optimizer: str
    dtype: str
    device: str
    layout: str
    tensors: int
    elements: int


@dataclass(frozen=True, kw_only=True)
class Tape:
    """The record of a few training steps.

    ``modules`` are path templates: ``{}`` stands for a number that the leaf's integers hold.
    ``device`` is the device the training ran on; ``granularity_bytes`` is the unit in which its
    allocator counts (512 for CUDA, 1 for exact bytes).
    """

    signatures: tuple[Signature, ...]
    sources: tuple[Source, ...]
    modules: tuple[str, ...]
    classes: tuple[StorageClass, ...]
    rows: tuple[Row, ...]
    segments: tuple[Segment, ...]
    device: str = "cuda:0"
    granularity_bytes: int = 512
    model: tuple[ModuleInfo, ...] = ()
    parameter_groups: tuple[ParameterGroup, ...] = ()
    groups: tuple[ProcessGroup, ...] = ()
    notes: dict[str, Any] = field(default_factory=dict)

    # --- walking ------------------------------------------------------------------------------

    @property
    def ops(self) -> Iterator[Op]:
        """Yield every operation in the order it ran."""
        from trainworthy.tape.unfold import Unfolder

        return iter(Unfolder(self))

    @cached_property
    def num_ops(self) -> int:
        """Count operations, unfolded."""
        return sum(count_ops(node) for segment in self.segments for node in segment.nodes)

    def storages(self) -> tuple[Storage, ...]:
        """List every storage with its birth and death, by number."""
        from trainworthy.tape.unfold import Unfolder

        unfolder = Unfolder(self)
        for _ in unfolder:
            pass
        return tuple(unfolder.storages[number] for number in sorted(unfolder.storages))

    def row_counts(self, step: int | None = None) -> dict[int, int]:
        """Count how often each row ran (in one step, or in all); folded blocks cost nothing."""
        counts: dict[int, int] = {}
        for segment in self.segments:
            if step is None or segment.step == step:
                for node in segment.nodes:
                    count_rows(node, 1, counts)
        return counts

    @property
    def reference_step(self) -> int | None:
        """Step that stands for the steady state: the last complete one."""
        steps = [s.step for s in self.segments if s.complete and s.step > 0]
        return max(steps) if steps else None

    # --- summaries ----------------------------------------------------------------------------

    def by_module(self, step: int | None = None) -> tuple[ModuleTotals, ...]:
        """Sum FLOPs, bytes and saved activations by module template (default: reference step)."""
        from trainworthy.tape.totals import totals_by_module

        return totals_by_module(self, step if step is not None else self.reference_step)

    def by_line(self, step: int | None = None) -> tuple[LineTotals, ...]:
        """Sum FLOPs and bytes by source line (default: the reference step)."""
        from trainworthy.tape.totals import totals_by_line

        return totals_by_line(self, step if step is not None else self.reference_step)

    def memory(self, device: str | None = None) -> MemoryTimeline:
        """Compute memory over time on ``device`` (default: the device of the training)."""
        from trainworthy.tape.memory import memory_timeline

        return memory_timeline(self, device or self.device)

    def unknown_flop_ops(self) -> dict[str, int]:
        """Name the operations without a FLOP formula, with how often each ran."""
        unknown: dict[str, int] = {}
        for row, count in self.row_counts().items():
            signature = self.signatures[self.rows[row].signature]
            if signature.flops is None:
                unknown[signature.name] = unknown.get(signature.name, 0) + count
        return unknown

    def save(self, path: str | Path) -> None:
        """Write the tape to ``path`` (a compact, versioned file; see ``file.py``)."""
        from trainworthy.tape.file import save_tape

        save_tape(self, path)

    def _repr_html_(self) -> str:
        from trainworthy.report.notebook import tape_html

        return tape_html(self)
