"""A small event simulation of training steps: one host thread, one stream of kernels, a stream a process group.

The host issues what the tape holds, in its order. Kernels run on the device's stream, in order. A collective begins
when the host has issued it, what was issued before it on the device's stream is done, and its group's own stream is
free; the device's stream goes on unless the call is synchronous, or until the operation that waits for it. A host sync
holds the host until the device's stream is empty. Nothing else couples them.

Steps are simulated until one takes as long as the one before: that is the step time. What the device's stream stands
still for is put to its cause: the host (launches come too late), the network (a collective is not done), or the bubble
(a message of another pipeline stage has not been sent).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from trainworthy.estimate.program import Call, Instruction, Loop, Plain, Sync, Wait
from trainworthy.tape.record import PHASES, Phase

__all__ = ["Cause", "Channel", "Loading", "StepTimes", "simulate", "simulate_ranks"]

Cause = Literal["host", "network", "bubble"]

_MAX_STEPS = 8  # a step of a pipeline takes a few until its start depends on its own end only
_TOLERANCE = 1e-9


class Loading(NamedTuple):
    """How batches come: seconds of work for those of one step, and how many processes share it (0: the host)."""

    step_s: float
    workers: int


@dataclass(slots=True)
class StepTimes:
    """One step in the steady state.

    ``step_s`` is the distance from step to step; ``latency_s`` what one step alone takes, from idle. ``stalls_s`` is
    what the device's stream stands still for, by cause and phase; ``exposed_s`` the part of it that waits for each
    collective, by row. ``host_s`` is what the host is busy for, ``data_s`` what it waits for batches.
    """

    step_s: float = 0.0
    latency_s: float = 0.0
    host_s: float = 0.0
    data_s: float = 0.0
    stalls_s: dict[tuple[Cause, Phase], float] = field(default_factory=dict)
    exposed_s: dict[int, float] = field(default_factory=dict)
    steps: int = 0
    is_steady: bool = False

    def stalled_s(self, cause: Cause) -> float:
        """Sum over phases."""
        return sum(seconds for (each, _), seconds in self.stalls_s.items() if each == cause)


Channel = dict[tuple[int, int], list[float]]  # (from, to) -> when the nth message has arrived
Waiting = Generator[Callable[[], bool], bool, None]  # yields whether it can go on; is told if it has to


def simulate(program: Sequence[Instruction], *, loading: Loading | None = None, in_order: bool = False) -> StepTimes:
    """Simulate steps of one rank until they repeat."""
    return simulate_ranks({0: program}, loading=loading, in_order=in_order)[0]


def simulate_ranks(
    programs: Mapping[int, Sequence[Instruction]], *, loading: Loading | None = None, in_order: bool = False,
    stands_for: Callable[[int], int] = lambda rank: rank,
) -> dict[int, StepTimes]:  # fmt: skip
    """Simulate the steps of several ranks that send each other messages.

    Args:
        programs: The step of each rank.
        loading: How batches come.
        in_order: Whether the device is the host itself.
        stands_for: The simulated rank that is like a given one, for peers that are not among ``programs``.
    """
    ranks = {rank: _Rank(rank, program, loading, in_order, stands_for) for rank, program in programs.items()}
    channels: Channel = {}
    steps = 0
    while steps < _MAX_STEPS:
        steps += 1
        _run_together({rank: state.step(channels) for rank, state in ranks.items()})
        if steps > 1 and all(state.is_steady() for state in ranks.values()):
            break
    return {rank: state.times() for rank, state in ranks.items()}


def _run_together(running: dict[int, Waiting]) -> None:
    """Advance every rank until all are done; a rank that waits for a message lets the others go on.

    If all wait (a peer is not simulated), the messages are taken to be there.
    """
    started = {rank: next(steps, None) for rank, steps in running.items()}
    waiting = {rank: can_go_on for rank, can_go_on in started.items() if can_go_on is not None}
    while waiting:
        ready = [rank for rank, can_go_on in waiting.items() if can_go_on()]
        for rank in ready or list(waiting):
            try:
                waiting[rank] = running[rank].send(not ready)
            except StopIteration:
                del waiting[rank]


class _Awaited(NamedTuple):
    """When a call is done, its row, and when its message was under way (a collective: at once)."""

    end: float
    row: int
    begins: float


class _Rank:
    """The clocks of one rank."""

    def __init__(
        self, rank: int, program: Sequence[Instruction], loading: Loading | None, in_order: bool,
        stands_for: Callable[[int], int],
    ) -> None:  # fmt: skip
        self._rank, self._program, self._loading, self._in_order = rank, program, loading, in_order
        self._stands_for = stands_for
        self._host = self._stream = 0.0
        self._groups: dict[int, float] = {}
        self._pending: dict[int, _Awaited] = {}  # by storage of the result
        self._received: dict[int, int] = {}
        self._ends: list[float] = []
        self._now = StepTimes()

    def is_steady(self) -> bool:
        """Whether the last two steps took equally long."""
        if len(self._ends) < 3:
            return False
        first, second, third = self._ends[-3:]
        return abs((third - second) - (second - first)) <= _TOLERANCE * max(third - second, 1e-30)

    def times(self) -> StepTimes:
        """Return the last step."""
        found, ends = self._now, self._ends
        found.latency_s = ends[0]
        found.step_s = ends[-1] - ends[-2] if len(ends) > 1 else ends[0]
        found.steps, found.is_steady = len(ends), self.is_steady()
        return found

    def step(self, channels: Channel) -> Waiting:
        """Run one step; yields where it has to wait for another rank."""
        self._now = StepTimes()
        self._load()
        yield from self._block(self._program, [], channels)
        end = max(self._stream, *self._groups.values(), 0.0)
        is_idle = end <= (self._ends[-1] if self._ends else 0.0)  # nothing ran on the device
        self._ends.append(self._host if self._in_order or is_idle else end)

    def _load(self) -> None:
        """Let the host wait for the batches of this step."""
        if self._loading is None:
            return
        before = self._host
        if self._loading.workers == 0:
            self._host += self._loading.step_s
        else:
            self._host = max(self._host, len(self._ends) * self._loading.step_s / self._loading.workers)
        self._now.data_s += self._host - before

    def _block(self, instructions: Sequence[Instruction], repetitions: list[int], channels: Channel) -> Waiting:
        for instruction in instructions:
            if isinstance(instruction, Plain):
                self._plain(instruction)
            elif isinstance(instruction, Loop):
                repetitions.append(0)
                for k in range(instruction.count):
                    repetitions[-1] = k
                    yield from self._block(instruction.body, repetitions, channels)
                repetitions.pop()
            elif isinstance(instruction, Wait):
                self._wait(instruction, repetitions)
            elif isinstance(instruction, Sync):
                self._sync(instruction)
            elif instruction.kind == "recv":
                yield from self._receive(instruction, repetitions, channels)
            else:
                self._call(instruction, repetitions, channels)

    def _plain(self, plain: Plain) -> None:
        run = plain.run
        before = self._stream
        self._stream = max(before + run.busy_s, self._host + run.path_s)
        self._host += run.host_s
        self._now.host_s += run.host_s
        self._stall("host", plain.phase, self._stream - before - run.busy_s)

    def _sync(self, sync: Sync) -> None:
        self._host = max(self._host + sync.host_s, self._stream)
        self._now.host_s += sync.host_s

    def _call(self, call: Call, repetitions: list[int], channels: Channel) -> None:
        self._issue(call.host_s)
        start = max(self._host, self._stream, self._groups.get(call.group, 0.0))
        end = start + call.seconds
        self._groups[call.group] = end
        if call.kind == "send" and call.peer is not None:
            channels.setdefault((self._rank, self._stands_for(call.peer)), []).append(end)
        self._finish(call, _Awaited(end, call.row, 0.0), repetitions)

    def _receive(self, call: Call, repetitions: list[int], channels: Channel) -> Waiting:
        self._issue(call.host_s)
        source = self._stands_for(self._rank if call.peer is None else call.peer)
        sent = channels.setdefault((source, self._rank), [])
        number = self._received.get(source, 0)
        self._received[source] = number + 1
        posted = max(self._host, self._stream, self._groups.get(call.group, 0.0))
        given_up = False
        while len(sent) <= number and not given_up:
            given_up = yield lambda: len(sent) > number
        end = max(posted, sent[number]) if len(sent) > number else posted + call.seconds
        self._groups[call.group] = end
        self._finish(call, _Awaited(end, call.row, end - call.seconds), repetitions)

    def _issue(self, host_s: float) -> None:
        self._host += host_s
        self._now.host_s += host_s

    def _finish(self, call: Call, done: _Awaited, repetitions: list[int]) -> None:
        if call.is_async:
            for number in call.results.at(repetitions):
                self._pending[number] = done
        else:
            self._hold(done, call.phase)

    def _wait(self, wait: Wait, repetitions: list[int]) -> None:
        self._issue(wait.host_s)
        for number in wait.waits_for.at(repetitions):
            done = self._pending.pop(number, None)
            if done is not None:
                self._hold(done, wait.phase)

    def _hold(self, done: _Awaited, phase: int) -> None:
        """Hold the stream until a call is done; the host goes on, unless it is the device."""
        now = self._host if self._in_order else self._stream
        stall = done.end - now
        if stall <= 0:
            return
        if self._in_order:
            self._host = done.end
        self._stream = done.end
        bubble = min(max(done.begins - now, 0.0), stall)
        self._stall("bubble", phase, bubble)
        self._stall("network", phase, stall - bubble)
        self._now.exposed_s[done.row] = self._now.exposed_s.get(done.row, 0.0) + stall

    def _stall(self, cause: Cause, phase: int, seconds: float) -> None:
        if seconds > 0:
            key = (cause, PHASES[phase])
            self._now.stalls_s[key] = self._now.stalls_s.get(key, 0.0) + seconds
