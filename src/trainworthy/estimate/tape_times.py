"""The times of a tape's operations in order. On a CPU they depend on what came before: caches and fresh memory."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from trainworthy.estimate.cache_state import CacheState
from trainworthy.estimate.curves import reuse_s_per_byte
from trainworthy.estimate.host_heap import Block, HostHeap
from trainworthy.estimate.op_classes import op_class
from trainworthy.estimate.op_cost import OpTime, op_time
from trainworthy.tape.record import PHASES, Leaf, Phase, Signature, Tape, TensorMeta, leaves

if TYPE_CHECKING:
    from trainworthy.estimate.machine import Machine

_ITEM_BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2, "int64": 8, "int32": 4, "int16": 2, "int8": 1,
               "uint8": 1, "bool": 1, "complex64": 8, "complex128": 16}  # fmt: skip
# Fresh pages of real processes over those of the model: the mean over the 12 cases of tests/zoo/small.py was 0.6, over
# 26 other scripts 0.5; single ones lie between 0.1 and 1.2 and differ by a factor of two from run to run.
FRESH_SHARE = 0.55
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
    memory = _HostMemory(tape, machine)
    for (step, timed), (_, leaf) in zip(_plain_walk(tape, machine), _leaves(tape), strict=True):
        fresh, misses_s = memory.run(leaf)
        stall_s = fresh * memory.fault_s + misses_s
        yield step, timed._replace(time=timed.time._replace(stall_s=stall_s)) if stall_s else timed


def _leaves(tape: Tape) -> Iterator[tuple[int, Leaf]]:
    for segment in tape.segments:
        for leaf in leaves(segment.nodes):
            yield segment.step, leaf


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
        self.fault_s = (calibration.page_fault_s_per_byte or 0.0) * FRESH_SHARE
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
        """Follow the copies in blocked layouts that oneDNN makes of what a convolution reads and writes."""
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

    def run(self, leaf: Leaf) -> tuple[float, float]:
        """Follow one operation; return its fresh bytes and what distant data add to its time."""
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
        if kind in {"conv_forward", "conv_backward"}:
            fresh += self._scratch(signature)
        misses = 0.0 if kind in {"view", "sync"} else self._misses(signature, (*ids_in, *ids_out))
        for number in dead:
            self._free(number)
        return fresh, misses

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

    def _misses(self, signature: Signature, numbers: tuple[int, ...]) -> float:
        near = reuse_s_per_byte(self.points, max(signature.moved_bytes, 1))
        seen: set[int] = set()
        stall = 0.0
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
                stall += held * (reuse_s_per_byte(self.points, distance) - near)
        return max(stall, 0.0)


def dense_bytes(meta: TensorMeta) -> int:
    """Return the bytes behind a tensor; repeated dimensions count once."""
    dims = zip(meta.shape, meta.stride, strict=False)
    return prod(size for size, stride in dims if stride or size == 0) * _ITEM_BYTES.get(meta.dtype, 1)
