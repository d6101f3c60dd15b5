"""The pipeline schedule as recorded: which stage runs which micro-batch forward or backward, and after what.

A tape knows order, not time. The blocks of every stage are put in slots of equal length; a block begins when the stage
is free and what it received has been sent. What is left empty is the bubble.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from trainworthy.inspect.collectives import POINT_TO_POINT, Call
from trainworthy.tape.nodes import leaves
from trainworthy.tape.record import PHASES, Phase, Tape

Direction = Literal["F", "B"]

_DIRECTIONS: dict[Phase, Direction] = {"forward": "F", "loss": "F", "recompute": "B", "backward": "B"}


class Block(NamedTuple):
    """One micro-batch going through one stage, forward or backward; counted from 1."""

    direction: Direction
    number: int
    slot: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSchedule:
    """The blocks of one rank, in order."""

    rank: int
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineSchedule:
    """All stages of one pipeline; ``slots`` is the length of the longest."""

    step: int
    stages: tuple[StageSchedule, ...]
    slots: int

    @property
    def bubble(self) -> float:
        """The part of all slots in which a stage waits."""
        busy = sum(len(stage.blocks) for stage in self.stages)
        return 1 - busy / (self.slots * len(self.stages))

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object of the stable machine interface."""
        return {
            "step": self.step, "slots": self.slots, "bubble": self.bubble,
            "stages": [
                {
                    "rank": stage.rank,
                    "blocks": [{"kind": b.direction, "number": b.number, "slot": b.slot} for b in stage.blocks],
                }
                for stage in self.stages
            ],
        }  # fmt: skip


class _Compute(NamedTuple):
    direction: Direction


class _Message(NamedTuple):
    is_send: bool
    peer: int


_Event = _Compute | _Message


def pipeline_schedule(
    tapes: Mapping[int, Tape], calls: Mapping[int, Sequence[Call]], *, step: int | None
) -> PipelineSchedule | None:
    """Work out the schedule of the pipeline with the lowest rank; None if no stage sends to another.

    Only messages outside of modules count: a ring inside attention is no pipeline.
    """
    if step is None:
        return None
    messages = {rank: [c for c in of if c.step == step and _is_message(c)] for rank, of in calls.items()}
    ranks = _component(messages)
    if len(ranks) < 2:
        return None
    events = {rank: _events(tapes[rank], step, messages[rank]) for rank in ranks}
    if not all(any(isinstance(e, _Compute) for e in of) for of in events.values()):
        return None
    stages = _Slots(events).run()
    if stages is None:
        return None
    return PipelineSchedule(
        step=step, stages=tuple(StageSchedule(rank=r, blocks=tuple(stages[r])) for r in ranks),
        slots=max(block.slot for blocks in stages.values() for block in blocks) + 1,
    )  # fmt: skip


def _is_message(call: Call) -> bool:
    return call.kind in POINT_TO_POINT and not call.module and call.collective.peer is not None


def _component(messages: Mapping[int, Sequence[Call]]) -> list[int]:
    """List the rehearsed ranks that the lowest rank with messages reaches."""
    talking = sorted(rank for rank, of in messages.items() if of)
    if not talking:
        return []
    reached, todo = {talking[0]}, [talking[0]]
    while todo:
        rank = todo.pop()
        near = {c.collective.peer for c in messages[rank] if c.collective.peer is not None}
        near |= {r for r in talking if any(c.collective.peer == rank for c in messages[r])}
        for peer in near:
            if peer in messages and peer not in reached:
                reached.add(peer)
                todo.append(peer)
    return sorted(reached)


def _events(tape: Tape, step: int, messages: Sequence[Call]) -> list[_Event]:
    """List blocks and messages of one rank; a receive stands where it is waited for."""
    at: dict[int, list[_Event]] = defaultdict(list)
    for call in messages:
        is_send = call.kind == "send"
        where = call.index if is_send or call.wait_index is None else call.wait_index
        at[where].append(_Message(is_send, call.collective.peer or 0))
        if where != call.index:
            at.setdefault(call.index, [])  # posting a receive ends a block, too
    events: list[_Event] = []
    blocks = _Blocks(events)
    index = 0
    for segment in tape.segments:
        for leaf in leaves(segment.nodes):
            if segment.step == step:
                if index in at:
                    blocks.close()
                    events.extend(at[index])
                else:
                    row = tape.rows[leaf.row]
                    signature = tape.signatures[row.signature]
                    if signature.collective is None:
                        is_work = bool(tape.modules[row.module]) or bool(signature.flops)
                        blocks.add(PHASES[row.phase], is_work=is_work)
            index += 1
    blocks.close()
    return events


class _Blocks:
    """Joins operations to blocks; one without work in a module (making a buffer for a receive) is none."""

    def __init__(self, events: list[_Event]) -> None:
        self._events = events
        self._direction: Direction | None = None
        self._has_work = False

    def add(self, phase: Phase, *, is_work: bool) -> None:
        """Take the next operation."""
        direction = _DIRECTIONS.get(phase)
        if direction != self._direction:
            self.close()
            self._direction = direction
        self._has_work |= is_work

    def close(self) -> None:
        """End the block."""
        if self._direction is not None and self._has_work:
            self._events.append(_Compute(self._direction))
        self._direction, self._has_work = None, False


class _Slots:
    """Puts the blocks of all stages in slots, by what they receive."""

    def __init__(self, events: Mapping[int, list[_Event]]) -> None:
        self._events = events
        self._at = dict.fromkeys(events, 0)
        self._free = dict.fromkeys(events, 0)
        self._sent: dict[tuple[int, int], list[int]] = defaultdict(list)
        self._received: dict[tuple[int, int], int] = defaultdict(int)
        self._blocks: dict[int, list[Block]] = {rank: [] for rank in events}

    def run(self) -> dict[int, list[Block]] | None:
        """Return the blocks by rank; None if the stages wait for each other."""
        moved = True
        while moved:
            moved = False
            for rank, events in self._events.items():
                while self._at[rank] < len(events) and self._take(rank, events[self._at[rank]]):
                    self._at[rank] += 1
                    moved = True
        done = all(self._at[rank] == len(events) for rank, events in self._events.items())
        return self._blocks if done else None

    def _take(self, rank: int, event: _Event) -> bool:
        if isinstance(event, _Compute):
            blocks = self._blocks[rank]
            number = 1 + sum(1 for b in blocks if b.direction == event.direction)
            blocks.append(Block(event.direction, number, self._free[rank]))
            self._free[rank] += 1
        elif event.is_send:
            self._sent[rank, event.peer].append(self._free[rank])
        elif event.peer in self._events:
            channel = (event.peer, rank)
            which = self._received[channel]
            if which >= len(self._sent[channel]):
                return False
            self._received[channel] += 1
            self._free[rank] = max(self._free[rank], self._sent[channel][which])
        return True
