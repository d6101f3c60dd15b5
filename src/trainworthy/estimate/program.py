"""A step of a tape as instructions for the simulation: runs of operations, host syncs, collectives, waits.

Operations between two points at which clocks meet are joined into one ``Run`` (see ``timeline.py``), whole folded
blocks too. What is left are the points themselves; a block that holds such points becomes a loop. Storage numbers of
collectives and waits grow linearly in every loop around them, as on the tape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from trainworthy.estimate.costs import Cost
from trainworthy.estimate.timeline import NOTHING, Run, kernel, on_host
from trainworthy.tape.nodes import Leaf, Node, Repeat, num_ints
from trainworthy.tape.record import Tape

__all__ = ["Call", "Instruction", "Loop", "Plain", "Sync", "Wait", "program_of"]

_WAITS = ("wait", "wait_tensor")


class Plain(NamedTuple):
    """A run of operations of one phase."""

    run: Run
    phase: int


class Sync(NamedTuple):
    """The host waits until the stream is empty."""

    host_s: float
    phase: int


class Numbers(NamedTuple):
    """Storage numbers; in repetition k of the loop at depth d each has grown by ``k * growth[d]``."""

    base: tuple[int, ...]
    growth: tuple[tuple[int, ...], ...]

    def at(self, repetitions: Sequence[int]) -> tuple[int, ...]:
        """The numbers in the given repetitions of the loops around, from the outermost in."""
        found = self.base
        for k, growth in zip(repetitions, self.growth, strict=True):
            if k:
                found = tuple(n + k * g for n, g in zip(found, growth, strict=True))
        return found


class Call(NamedTuple):
    """A collective, or a send or receive; ``results`` are what a wait refers to."""

    row: int
    kind: str
    group: int
    peer: int | None
    seconds: float
    host_s: float
    is_async: bool
    results: Numbers
    phase: int


class Wait(NamedTuple):
    """The stream waits for the collectives that made these storages."""

    waits_for: Numbers
    host_s: float
    phase: int


@dataclass(frozen=True, slots=True)
class Loop:
    """Instructions repeated; loops hold loops."""

    count: int
    body: tuple[Instruction, ...]


Instruction = Plain | Sync | Call | Wait | Loop


def program_of(tape: Tape, *, costs: Sequence[Cost], step: int, in_order: bool) -> tuple[Instruction, ...]:
    """Translate one step.

    Args:
        tape: The tape.
        costs: What each row costs.
        step: Which step.
        in_order: Whether the host executes operations itself, as it does where the device is the CPU.
    """
    compiler = _Compiler(tape, costs, in_order)
    nodes = [node for segment in tape.segments if segment.step == step for node in segment.nodes]
    return tuple(compiler.sequence([(node, ()) for node in nodes]))


_Growths = tuple[tuple[int, ...], ...]  # per loop around a node, from the outermost in: growth of its integers


class _Compiler:
    """One pass over the folded nodes."""

    def __init__(self, tape: Tape, costs: Sequence[Cost], in_order: bool) -> None:
        self._tape, self._costs, self._in_order = tape, costs, in_order
        self._holes = [template.count("{}") for template in tape.modules]
        self._runs: dict[int, Run] = {}
        self._meets = [self._is_meeting(row) for row in range(len(tape.rows))]

    def sequence(self, nodes: Sequence[tuple[Node, _Growths]]) -> list[Instruction]:
        """Translate nodes one after the other, joining neighbours."""
        out: list[Instruction] = []
        for node, growths in nodes:
            for instruction in self._instructions(node, growths):
                _append(out, instruction)
        return out

    def _instructions(self, node: Node, growths: _Growths) -> list[Instruction]:
        if isinstance(node, Leaf):
            return self._leaf(node, growths)
        body = self.sequence(_children(node, growths))
        if len(body) == 1 and isinstance(body[0], Plain):
            return [Plain(body[0].run.times(node.count), body[0].phase)]
        return [Loop(node.count, tuple(body))]

    def _leaf(self, leaf: Leaf, growths: _Growths) -> list[Instruction]:
        row = self._tape.rows[leaf.row]
        if not self._meets[leaf.row]:
            return [Plain(self._run(leaf.row), row.phase)]
        signature, cost = self._tape.signatures[row.signature], self._costs[leaf.row]
        start = self._holes[row.module]
        middle = start + len(signature.inputs)
        end = middle + len(signature.outputs)
        call = signature.collective
        if call is None and signature.host_syncs:
            # The copy to the host, or what else the operation does, then the wait for it.
            return [Plain(self._run(leaf.row), row.phase), Sync(0.0, row.phase)]
        if call is None:
            return [Wait(_numbers(leaf, growths, start, middle), cost.host_s, row.phase)]
        low, high = (middle, end) if end > middle else (start, middle)  # a send is waited for by what it sends
        issued = Call(
            row=leaf.row, kind=call.kind, group=call.group, peer=call.peer, seconds=cost.network_s, host_s=cost.host_s,
            is_async=call.is_async, results=_numbers(leaf, growths, low, high), phase=row.phase,
        )  # fmt: skip
        return [issued]

    def _is_meeting(self, row: int) -> bool:
        signature = self._tape.signatures[self._tape.rows[row].signature]
        if signature.collective is not None or signature.host_syncs:
            return True
        return signature.name.rpartition(".")[2].endswith(_WAITS)

    def _run(self, row: int) -> Run:
        found = self._runs.get(row)
        if found is None:
            cost = self._costs[row]
            if self._in_order:
                found = on_host(cost.host_s + cost.device_s)
            elif cost.device_s > 0:
                found = kernel(host_s=cost.host_s, busy_s=cost.device_s, delay_s=cost.delay_s)
            else:
                found = on_host(cost.host_s)
            self._runs[row] = found
        return found


def _append(out: list[Instruction], instruction: Instruction) -> None:
    last = out[-1] if out else None
    if isinstance(instruction, Plain):
        if instruction.run == NOTHING:
            return
        if isinstance(last, Plain) and last.phase == instruction.phase:
            out[-1] = Plain(last.run.then(instruction.run), last.phase)
            return
    out.append(instruction)


def _children(node: Repeat, growths: _Growths) -> list[tuple[Node, _Growths]]:
    """Return the body with the growth of each child's integers in every loop around it, this one last."""
    children, at = [], 0
    for child, own in zip(node.body, node.increments, strict=True):
        size = num_ints(child)
        children.append((child, (*(growth[at : at + size] for growth in growths), own)))
        at += size
    return children


def _numbers(leaf: Leaf, growths: _Growths, start: int, end: int) -> Numbers:
    return Numbers(leaf.ints[start:end], tuple(growth[start:end] for growth in growths))
