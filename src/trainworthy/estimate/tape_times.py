"""The times of a tape's operations in order. On a CPU they depend on what came before: caches and fresh memory."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from trainworthy.estimate.cache_state import LEVELS_BYTES, CacheState
from trainworthy.estimate.curves import at_distance
from trainworthy.estimate.host_costs import LOOP, loop_modules
from trainworthy.estimate.host_heap import Block, HostHeap
from trainworthy.estimate.op_classes import op_class
from trainworthy.estimate.op_cost import OpTime, op_time
from trainworthy.tape.nodes import Leaf, leaves
from trainworthy.tape.record import PHASES, Phase, Signature, Tape, TensorMeta

if TYPE_CHECKING:
    from trainworthy.estimate.machine import Machine

_ITEM_BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2, "int64": 8, "int32": 4, "int16": 2, "int8": 1,
               "uint8": 1, "bool": 1, "complex64": 8, "complex128": 16}  # fmt: skip
# Fresh pages of real processes over those of the model: the mean over the 12 cases of tests/zoo/small.py was 0.6, over
# 26 other scripts 0.5; single ones lie between 0.1 and 1.2 and differ by a factor of two from run to run.
FRESH_SHARE = 0.55
# What a fresh byte takes in a step over what it takes alone: pages also come cold from the system, and push out what
# the caches held. Steps of 11 networks with the heap kept and without: 0.28 to 0.73 ms a MiB, the median 0.46; alone
# 0.32 (two cores of an EPYC).
_FRESH_IN_STEPS = 1.4
_NOTHING_LOST = (256e3, 0.0)  # so much fits beside the host's code into the second caches of all today's cores
_ENLARGES = frozenset({"upsample_nearest2d", "upsample_bilinear2d", "_upsample_nearest_exact2d"})
_MOST_TOUCHES = 150_000  # of blocks; larger tapes are followed in larger blocks


class TimedOp(NamedTuple):
    """An operation of a step and its time."""

    signature: Signature
    row: int
    phase: Phase
    time: OpTime


def step_op_times(tape: Tape, *, machine: Machine, step: int | None = None) -> list[TimedOp]:
    """Return the operations of one step (default: the reference step) with their times, in order.

    On a CPU the steps before are followed too, for what they leave in the caches and in the heap: a tape of two or
    three steps is in a steady state at its last.
    """
    wanted = tape.reference_step if step is None else step
    walk = _cpu_walk if machine.kind == "cpu" and machine.calibration is not None else _plain_walk
    return [timed for at, timed in walk(tape, machine) if wanted is None or at == wanted]


def step_time_s(tape: Tape, *, machine: Machine, step: int | None = None) -> float:
    """Return the time of a step on a CPU, where host and kernels are one sequence."""
    timed = step_op_times(tape, machine=machine, step=step)
    return sum(op.time.device_s + op.time.host_s for op in timed) + machine.host.step_s


def _plain_walk(tape: Tape, machine: Machine) -> Iterator[tuple[int, TimedOp]]:
    cache: dict[tuple[int, int], OpTime] = {}
    for segment in tape.segments:
        for leaf in leaves(segment.nodes):
            row = tape.rows[leaf.row]
            key = (row.signature, row.phase)
            signature, phase = tape.signatures[row.signature], PHASES[row.phase]
            if key not in cache:
                cache[key] = op_time(signature, machine=machine, phase=phase)
            yield segment.step, TimedOp(signature, leaf.row, phase, cache[key])


def _cpu_walk(tape: Tape, machine: Machine) -> Iterator[tuple[int, TimedOp]]:
    memory, code = _HostMemory(tape, machine), HostCode(machine)
    loops = loop_modules(tape)
    for (step, timed), (_, leaf) in zip(_plain_walk(tape, machine), _leaves(tape), strict=True):
        seen = memory.run(leaf)
        stall_s, host_s = seen.fresh_bytes * memory.fault_s + seen.misses_s, timed.time.host_s
        if timed.time.bound != "host":
            if tape.rows[timed.row].module in loops:
                host_s = machine.host.by_op.get(f"{timed.phase}/{LOOP}", host_s)
            stall_s += code.library_s(timed.signature.name, timed.signature.moved_bytes)
            late_s = code.issue(timed.signature.name, seen.arrived_bytes)
            counted_s = code.counted_s(timed.signature.moved_bytes)
            stall_s -= min(counted_s, timed.time.device_s / 2)
            host_s += late_s
        yield step, timed._replace(time=timed.time._replace(stall_s=stall_s, host_s=host_s))


def _leaves(tape: Tape) -> Iterator[tuple[int, Leaf]]:
    for segment in tape.segments:
        for leaf in leaves(segment.nodes):
            yield segment.step, leaf


class HostCode:
    """What it costs the host to find its own code and data again, which other operations drove out of its caches.

    In a training step nearly every operation moves more than the caches next to a core hold. Half of the code is taken
    to be any operation's, and warm again after the next one; half is that of operations of one name. Measured: right
    after an elementwise operation a product of 8 x 8 still took half of what it took longer after 24 MiB, a
    convolution two thirds, a layer norm four fifths.
    """

    def __init__(self, machine: Machine) -> None:
        assert machine.calibration is not None
        points = machine.calibration.refill
        self._call = [_NOTHING_LOST, *((point.distance_bytes, point.call_s) for point in points)]
        self._op = [_NOTHING_LOST, *((point.distance_bytes, point.op_s) for point in points)]
        products = [_NOTHING_LOST, *((point.distance_bytes, point.product_s) for point in points)]
        convolutions = [_NOTHING_LOST, *((point.distance_bytes, point.convolution_s) for point in points)]
        self._library = {"gemm": products, "conv_forward": convolutions, "conv_backward": convolutions}
        self._arrived_bytes = self._at_last = 0.0
        self._at_last_named: dict[str, float] = {}
        self._at_last_kind: dict[str, float] = {}

    def library_s(self, name: str, moved_bytes: int) -> float:
        """Return how much longer a library's kernel takes than right after one of its kind; asked before `issue`."""
        kind = op_class(name)
        points = self._library.get(kind)
        if points is None:
            return 0.0
        since = self._arrived_bytes - self._at_last_kind.get(kind, 0.0)
        self._at_last_kind[kind] = self._arrived_bytes
        return max(at_distance(points, since) - at_distance(points, moved_bytes), 0.0)

    def issue(self, name: str, arrived_bytes: float) -> float:
        """Return what this adds to an operation, which then brings so many bytes into the caches next to the cores."""
        now = self._arrived_bytes
        since = (now - self._at_last, now - self._at_last_named.get(name, 0.0))
        self._at_last = self._at_last_named[name] = now
        self._arrived_bytes += arrived_bytes
        return fmean(at_distance(self._call, distance) for distance in since)

    def counted_s(self, moved_bytes: int) -> float:
        """Return how much of this is in the measured time of a kernel: called again and again as a bare operator."""
        return at_distance(self._op, moved_bytes)


class _Seen(NamedTuple):
    """What one operation meets in memory; ``arrived_bytes`` were further away than the first level of distances."""

    fresh_bytes: float
    misses_s: float
    arrived_bytes: float


class _HostMemory:
    """Heaps and caches as the tape's operations go by.

    Whether the heap shrinks after a step depends on what small thing happens to lie at its top, which no tape tells.
    Two heaps are followed: in one, optimizer states lie where the first step would have put them, above its
    activations, and hold the heap up; in the other they lie at the bottom.
    """

    def __init__(self, tape: Tape, machine: Machine) -> None:
        calibration = machine.calibration
        assert calibration is not None
        self.tape = tape
        self.points = calibration.reuse
        self.fault_s = (calibration.page_fault_s_per_byte or 0.0) * FRESH_SHARE * _FRESH_IN_STEPS
        self.heaps = (HostHeap(), HostHeap())
        counts = tape.row_counts()
        moved = sum(tape.signatures[tape.rows[row].signature].moved_bytes * n for row, n in counts.items())
        self.cache = CacheState(block_bytes=max(64 << 10, -(-moved // _MOST_TOUCHES // 4096) * 4096))
        self.blocks: tuple[dict[int, Block], ...] = ({}, {})
        self.holes = tuple(template.count("{}") for template in tape.modules)
        self._deferred: list[tuple[int, int]] = []

    def _allocate(self, number: int, size_bytes: int, *, which: tuple[int, ...] = (0, 1)) -> float:
        fresh = 0
        for at in which:
            block = self.blocks[at][number] = self.heaps[at].allocate(size_bytes)
            fresh += block.fresh_bytes
        return fresh / len(self.heaps)

    def _place_states(self) -> None:
        for number, size_bytes in self._deferred:
            self._allocate(number, size_bytes, which=(0,))
        self._deferred.clear()

    def _scratch(self, signature: Signature) -> float:
        """Follow copies inside an operator: in oneDNN's blocked layouts, and with channels last to enlarge images."""
        images = [m for m in (*signature.inputs, *signature.outputs) if len(m.shape) >= 3]
        fresh = sum(self._allocate(-1 - at, dense_bytes(meta)) for at, meta in enumerate(images))
        for at in range(len(images)):
            self._free(-1 - at)
        return fresh

    def _free(self, number: int) -> None:
        for heap, blocks in zip(self.heaps, self.blocks, strict=True):
            block = blocks.pop(number, None)
            if block is not None:
                heap.free(block)

    def run(self, leaf: Leaf) -> _Seen:
        """Follow one operation."""
        row = self.tape.rows[leaf.row]
        signature = self.tape.signatures[row.signature]
        at = self.holes[row.module]
        ids = leaf.ints
        num_in, num_out = len(signature.inputs), len(signature.outputs)
        ids_in, at = ids[at : at + num_in], at + num_in
        ids_out, at = ids[at : at + num_out], at + num_out
        born, dead = ids[at : at + len(row.births)], ids[at + len(row.births) :]
        fresh = sum(self._birth(number, which) for number, which in zip(born, row.births, strict=True))
        if PHASES[row.phase] == "optimizer" and self._deferred:
            self._place_states()
        kind = op_class(signature.name)
        if kind in {"conv_forward", "conv_backward"} or signature.name in _ENLARGES:
            fresh += self._scratch(signature)
        misses = (0.0, 0.0) if kind in {"view", "sync"} else self._misses(signature, (*ids_in, *ids_out))
        for number in dead:
            self._free(number)
        return _Seen(fresh, *misses)

    def _birth(self, number: int, which: int) -> float:
        cls = self.tape.classes[which]
        if cls.device != "cpu":
            return 0.0
        if cls.origin != "outside":
            return self._allocate(number, cls.size_bytes)
        if cls.kind == "optimizer_state":
            self._deferred.append((number, cls.size_bytes))
            self._allocate(number, cls.size_bytes, which=(1,))
        else:
            self._allocate(number, cls.size_bytes)
        return 0.0

    def _misses(self, signature: Signature, numbers: tuple[int, ...]) -> tuple[float, float]:
        near = at_distance(self.points, max(signature.moved_bytes, 1))
        seen: set[int] = set()
        stall = arrived = 0.0
        gathers = op_class(signature.name) in {"gather", "scatter"}
        for meta, number in zip((*signature.inputs, *signature.outputs), numbers, strict=True):
            block = self.blocks[0].get(number)
            if block is None or number in seen:
                continue
            seen.add(number)
            size = min(dense_bytes(meta), block.size)
            if gathers:
                size = min(size, max(signature.moved_bytes, 1))
            for distance, held in self.cache.touch(block.address, size).items():
                stall += held * (at_distance(self.points, distance) - near)
                arrived += held if distance > LEVELS_BYTES[0] else 0
        return max(stall, 0.0), arrived


def dense_bytes(meta: TensorMeta) -> int:
    """Return the bytes behind a tensor; repeated dimensions count once."""
    dims = zip(meta.shape, meta.stride, strict=False)
    return prod(size for size, stride in dims if stride or size == 0) * _ITEM_BYTES.get(meta.dtype, 1)
