"""The times of a tape's operations in order. On a CPU they depend on what came before: caches and fresh memory."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from trainworthy.estimate.cache_state import CacheState
from trainworthy.estimate.curves import bandwidth_gb_per_s
from trainworthy.estimate.host_heap import Block, HostHeap
from trainworthy.estimate.op_classes import op_class
from trainworthy.estimate.op_cost import OpTime, op_time
from trainworthy.tape.record import PHASES, Leaf, Phase, Signature, Tape, TensorMeta, leaves

if TYPE_CHECKING:
    from trainworthy.estimate.machine import Machine

_ITEM_BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2, "int64": 8, "int32": 4, "int16": 2, "int8": 1,
               "uint8": 1, "bool": 1, "complex64": 8, "complex128": 16}  # fmt: skip
_MOST_TOUCHES = 150_000  # of blocks; larger tapes are followed in larger blocks


class TimedOp(NamedTuple):
    """An operation of a step and its time."""

    signature: Signature
    row: int
    phase: Phase
    time: OpTime


def step_op_times(tape: Tape, *, machine: Machine, step: int | None = None) -> list[TimedOp]:
    """Return the operations of one step (default: the reference step) with their times, in order.

    On a CPU the steps before are followed too, for what they leave in the caches and in the heap: a tape of two or three
    steps is in a steady state at its last.
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
        stall_s = memory.run(leaf)
        yield step, timed._replace(time=timed.time._replace(stall_s=stall_s)) if stall_s else timed


def _leaves(tape: Tape) -> Iterator[tuple[int, Leaf]]:
    for segment in tape.segments:
        for leaf in leaves(segment.nodes):
            yield segment.step, leaf


class _HostMemory:
    """Heap and caches as the tape's operations go by."""

    def __init__(self, tape: Tape, machine: Machine) -> None:
        calibration = machine.calibration
        assert calibration is not None
        self.tape = tape
        self.points = calibration.bandwidth
        self.fault_s = calibration.page_fault_s_per_byte or 0.0
        self.heap = HostHeap()
        counts = tape.row_counts()
        moved = sum(tape.signatures[tape.rows[row].signature].moved_bytes * n for row, n in counts.items())
        self.cache = CacheState(block_bytes=max(64 << 10, -(-moved // _MOST_TOUCHES // 4096) * 4096))
        self.blocks: dict[int, Block] = {}
        self.holes = tuple(template.count("{}") for template in tape.modules)
        self._deferred: list[tuple[int, int]] = []

    def _place_states(self) -> None:
        """Give optimizer states that lived before the recording a place where the first step would have put them.

        They come to life at the end of the first step, above its activations, and keep the heap from shrinking.
        """
        for number, size_bytes in self._deferred:
            self.blocks[number] = self.heap.allocate(size_bytes)
        self._deferred.clear()

    def _scratch(self, signature: Signature) -> int:
        """Follow the copies in blocked layouts that oneDNN makes of what a convolution reads and writes."""
        images = [m for m in (*signature.inputs, *signature.outputs) if len(m.shape) >= 3]
        blocks = [self.heap.allocate(dense_bytes(meta)) for meta in images]
        for block in blocks:
            self.heap.free(block)
        return sum(block.fresh_bytes for block in blocks)

    def run(self, leaf: Leaf) -> float:
        """Follow one operation; return what caches and fresh pages add to its time."""
        row = self.tape.rows[leaf.row]
        signature = self.tape.signatures[row.signature]
        at = self.holes[row.module]
        ids = leaf.ints
        num_in, num_out = len(signature.inputs), len(signature.outputs)
        ids_in, at = ids[at : at + num_in], at + num_in
        ids_out, at = ids[at : at + num_out], at + num_out
        born, dead = ids[at : at + len(row.births)], ids[at + len(row.births) :]
        fresh = 0
        for number, which in zip(born, row.births, strict=True):
            cls = self.tape.classes[which]
            if cls.device != "cpu":
                continue
            if cls.origin == "outside" and cls.kind == "optimizer_state":
                self._deferred.append((number, cls.size_bytes))
                continue
            self.blocks[number] = self.heap.allocate(cls.size_bytes)
            fresh += self.blocks[number].fresh_bytes if cls.origin != "outside" else 0
        if PHASES[row.phase] == "optimizer" and self._deferred:
            self._place_states()
        kind = op_class(signature.name)
        if kind in {"conv_forward", "conv_backward"}:
            fresh += self._scratch(signature)
        stall = fresh * self.fault_s
        if kind not in {"view", "sync"}:
            stall += self._misses(signature, (*ids_in, *ids_out))
        for number in dead:
            if number in self.blocks:
                self.heap.free(self.blocks.pop(number))
        return stall

    def _misses(self, signature: Signature, numbers: tuple[int, ...]) -> float:
        near = bandwidth_gb_per_s(self.points, max(signature.moved_bytes, 1))
        seen: set[int] = set()
        stall = 0.0
        gathers = op_class(signature.name) in {"gather", "scatter"}
        for meta, number in zip((*signature.inputs, *signature.outputs), numbers, strict=True):
            block = self.blocks.get(number)
            if block is None or number in seen:
                continue
            seen.add(number)
            size = min(dense_bytes(meta), block.size)
            if gathers:
                size = min(size, max(signature.moved_bytes, 1))
            for distance, held in self.cache.touch(block.address, size).items():
                rate = bandwidth_gb_per_s(self.points, distance)
                stall += held * (1 / rate - 1 / near) / 1e9
        return max(stall, 0.0)


def dense_bytes(meta: TensorMeta) -> int:
    """Return the bytes behind a tensor; repeated dimensions count once."""
    dims = zip(meta.shape, meta.stride, strict=False)
    return prod(size for size, stride in dims if stride or size == 0) * _ITEM_BYTES.get(meta.dtype, 1)
