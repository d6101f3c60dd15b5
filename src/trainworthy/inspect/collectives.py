"""Every collective, send and receive of one rank: where it was issued, where it was waited for, what ran meanwhile.

Folded blocks are expanded here, because each call has a place of its own in the order that ranks must agree on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from trainworthy.tape.nodes import Leaf, fill_template, leaves
from trainworthy.tape.record import PHASES, Collective, Phase, ProcessGroup, Signature, Source, Tape

POINT_TO_POINT = frozenset({"send", "recv"})
_WAITS = ("wait", "wait_tensor")


class Compute(NamedTuple):
    """Amounts of operations that are no communication, summed from the beginning of the tape."""

    flops: int = 0
    moved_bytes: int = 0


@dataclass(slots=True, kw_only=True)
class Call:
    """One collective, send or receive, in the order of the rank.

    ``wait_index`` is the operation that waits for an asynchronous call. ``started`` and ``ended`` are what had been
    computed when the call was issued and when it was waited for: the same for a synchronous call; None at the end of
    an asynchronous one that nothing in the tape waits for.
    """

    index: int
    step: int
    phase: Phase
    module: str
    template: str
    source: Source
    name: str
    collective: Collective
    group: ProcessGroup
    shapes_in: tuple[tuple[int, ...], ...]
    shapes_out: tuple[tuple[int, ...], ...]
    started: Compute
    ended: Compute | None
    wait_index: int | None = None
    wait_source: Source | None = None

    @property
    def kind(self) -> str:
        """What kind of collective it is."""
        return self.collective.kind

    @property
    def payload_bytes(self) -> int:
        """What libraries call its size: the larger of what goes in and what comes out."""
        return max(self.collective.bytes_in, self.collective.bytes_out)

    @property
    def is_exposed(self) -> bool:
        """Whether nothing is computed while it runs; False where that is not known."""
        return self.started == self.ended


def calls_of(tape: Tape, step: int | None = None) -> list[Call]:
    """List the calls of ``tape`` in order, those of one step or all."""
    return _Walk(tape).run(step)


class _Walk:
    """One pass over the operations with the asynchronous calls that have not been waited for."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.calls: list[Call] = []
        self._flops = self._moved_bytes = 0
        self._pending: dict[int, list[Call]] = {}  # by storage of a result
        self._holes = [template.count("{}") for template in tape.modules]
        self._is_wait = [s.name.rpartition(".")[2].endswith(_WAITS) for s in tape.signatures]

    def run(self, step: int | None) -> list[Call]:
        index = 0
        for segment in self.tape.segments:
            for leaf in leaves(segment.nodes):
                row = self.tape.rows[leaf.row]
                signature = self.tape.signatures[row.signature]
                if signature.collective is not None:
                    self._call(index, segment.step, leaf, signature, signature.collective)
                elif self._pending and self._is_wait[row.signature]:
                    self._wait(index, leaf, signature)
                else:
                    self._flops += signature.flops or 0
                    self._moved_bytes += signature.moved_bytes
                index += 1
        return self.calls if step is None else [call for call in self.calls if call.step == step]

    def _call(self, index: int, step: int, leaf: Leaf, signature: Signature, collective: Collective) -> None:
        tape, row = self.tape, self.tape.rows[leaf.row]
        template = tape.modules[row.module]
        call = Call(
            index=index, step=step, phase=PHASES[row.phase], template=template,
            module=fill_template(template, leaf.ints[: self._holes[row.module]]), source=tape.sources[row.source],
            name=signature.name, collective=collective, group=tape.groups[collective.group],
            shapes_in=tuple(t.shape for t in signature.inputs), shapes_out=tuple(t.shape for t in signature.outputs),
            started=self._computed(), ended=None if collective.is_async else self._computed(),
        )  # fmt: skip
        self.calls.append(call)
        if collective.is_async:
            inputs, outputs = self._storages(leaf, signature)
            for number in outputs or inputs:  # a send has no result; it is waited for by what it sends
                self._pending.setdefault(number, []).append(call)

    def _wait(self, index: int, leaf: Leaf, signature: Signature) -> None:
        for number in self._storages(leaf, signature)[0]:
            for call in self._pending.pop(number, ()):
                if call.wait_index is None:
                    call.wait_index = index
                    call.wait_source = self.tape.sources[self.tape.rows[leaf.row].source]
                    call.ended = self._computed()

    def _computed(self) -> Compute:
        return Compute(self._flops, self._moved_bytes)

    def _storages(self, leaf: Leaf, signature: Signature) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the storage numbers of what goes in and of what comes out."""
        at = self._holes[self.tape.rows[leaf.row].module]
        end = at + len(signature.inputs)
        return leaf.ints[at:end], leaf.ints[end : end + len(signature.outputs)]


def computed_beside(calls: Iterable[Call]) -> Compute | None:
    """Sum what is computed while at least one of ``calls`` is under way; None if the end of one is not known."""
    flops = moved_bytes = 0
    until = Compute()
    for call in sorted(calls, key=lambda c: c.index):
        if call.ended is None:
            return None
        flops += max(call.ended.flops - max(call.started.flops, until.flops), 0)
        moved_bytes += max(call.ended.moved_bytes - max(call.started.moved_bytes, until.moved_bytes), 0)
        until = Compute(max(until.flops, call.ended.flops), max(until.moved_bytes, call.ended.moved_bytes))
    return Compute(flops, moved_bytes)
