"""Streams and events: work runs in program order, but who waits for which collective is followed.

A collective that is given to another stream than the one that computes runs beside it, until the computing stream
waits: directly, for an event recorded after it, or for a stream that waited itself. FSDP2 overlaps so.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from trainworthy.virtual.collectives import VirtualWork
from trainworthy.virtual.patch_factories import resolve_device
from trainworthy.virtual.tensors import Gpus

if TYPE_CHECKING:
    from trainworthy.tape.collective_record import Ticket
    from trainworthy.tape.recorder import Recorder


_AHEAD_OPS = 32  # so many operations queued behind an event keep the device busy while the host waits for that event


class _Call:
    """A collective that is under way until the computing stream waits for it."""

    __slots__ = ("ticket", "waited")

    def __init__(self, ticket: Ticket) -> None:
        self.ticket = ticket
        self.waited = False


class Stream:
    """A stream: what it is given runs in program order."""

    manager: Streams

    def __init__(self, device: Any = None, priority: int = 0, **kwargs: Any) -> None:
        self.device = resolve_device(device) or Gpus.current
        self.priority, self.cuda_stream, self.stream_id = priority, id(self), id(self)
        self.device_index, self.device_type = self.device.index, 1
        self._calls: list[_Call] = []

    @property
    def calls(self) -> list[_Call]:
        """Collectives that were given to this stream, or that it waited for, and that are still under way."""
        self._calls = [call for call in self._calls if not call.waited]
        return self._calls

    def wait_stream(self, stream: Stream) -> None:
        """Wait for another stream."""
        self.manager.wait(self, stream.calls)

    def wait_event(self, event: Event) -> None:
        """Wait for an event."""
        self.manager.wait(self, event.calls)

    def record_event(self, event: Event | None = None) -> Event:
        """Record an event."""
        event = event or Event()
        event.record(self)
        return event

    def synchronize(self) -> None:
        """Wait on the host."""
        self.manager.wait(self.manager.default, self.calls)
        torch.cuda.synchronize()

    def query(self) -> bool:
        """Tell whether all work is done."""
        return True

    def is_capturing(self) -> bool:
        """Tell whether a CUDA graph is being captured."""
        return False

    def __enter__(self) -> Stream:
        self._before = torch.cuda.current_stream()
        torch.cuda.set_stream(self)  # type: ignore[arg-type]
        return self

    def __exit__(self, *exc: object) -> None:
        torch.cuda.set_stream(self._before)


class ExternalStream(Stream):
    """A stream made elsewhere."""


class Event:
    """An event; times are not known in a rehearsal and are given as 1 ms."""

    def __init__(self, device: Any = None, *args: Any, **kwargs: Any) -> None:
        self.device = Gpus.current
        self.calls: list[_Call] = []
        self._place = 0

    def record(self, stream: Stream | None = None) -> None:
        """Mark a point of a stream."""
        self.calls = list((stream or Stream.manager.now).calls)
        self._place = Stream.manager.place

    def wait(self, stream: Stream | None = None) -> None:
        """Let a stream wait."""
        (stream or Stream.manager.now).wait_event(self)

    def query(self) -> bool:
        """Tell whether the event happened."""
        return True

    def synchronize(self) -> None:
        """Wait on the host. That stops the device only if little else has been queued since the event."""
        if Stream.manager.place - self._place < _AHEAD_OPS:
            torch.cuda.synchronize()

    def elapsed_time(self, end: Event) -> float:
        """Return 1.0 ms: a rehearsal does not know times."""
        return 1.0


class Streams:
    """The streams of a rehearsal: the one that computes, the current one, and what they wait for."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        Stream.manager = self
        self.default = self.now = Stream()
        recorder.is_beside = lambda: self.now is not self.default
        recorder.on_async_collective = self._begun

    @property
    def place(self) -> int:
        """How many operations have been recorded."""
        return len(self._recorder.ops)

    def current(self, device: Any = None) -> Stream:
        """Return the stream that is given work now."""
        return self.now

    def set(self, stream: Stream | None) -> None:
        """Make a stream the current one."""
        self.now = stream or self.now

    @contextmanager
    def use(self, stream: Stream | None) -> Iterator[None]:
        """Make a stream the current one for a while."""
        before, self.now = self.now, stream or self.now
        try:
            yield
        finally:
            self.now = before

    def wait(self, stream: Stream, calls: list[_Call]) -> None:
        """Let a stream wait for collectives; if it is the one that computes, that is recorded."""
        for call in calls:
            if call.waited:
                continue
            if stream is self.default:
                call.waited = True
                self._recorder.note_wait(call.ticket)
            elif call not in stream._calls:
                stream._calls.append(call)

    def _begun(self, func: Any, ticket: Ticket) -> None:
        if func.namespace != "c10d":  # the functional API waits by an operator of its own
            return
        call = _Call(ticket)
        if self.now is not self.default:
            self.now._calls.append(call)
        work, VirtualWork.last = VirtualWork.last, None
        if work is not None:
            work.on_wait = lambda: self.wait(self.now, [call])
