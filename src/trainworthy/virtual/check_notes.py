"""What dry rules want to know of a rehearsal beside its operations: one note each, joined here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from trainworthy.virtual.notes_batches import BatchNotes
from trainworthy.virtual.notes_calls import CallNotes
from trainworthy.virtual.notes_graphs import GraphNotes
from trainworthy.virtual.notes_modules import ModuleNotes
from trainworthy.virtual.notes_parameters import ParameterNotes
from trainworthy.virtual.notes_schedules import ScheduleNotes

if TYPE_CHECKING:
    from trainworthy.virtual.gpu import VirtualGpu


class CheckNotes:
    """Listens while a script is rehearsed; ``notes`` is what goes into its tape, under ``check``."""

    def __init__(self, gpu: VirtualGpu, *, resize: dict[str, Any] | None = None, keep_shapes: bool = False) -> None:
        self.batches = BatchNotes(gpu, resize)
        self.calls = CallNotes(gpu, keep_shapes=keep_shapes)
        self.graphs = GraphNotes(gpu)
        self.modules = ModuleNotes(gpu)
        self.parameters = ParameterNotes(gpu)
        self.schedules = ScheduleNotes(gpu, self.batches)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen while the context is open."""
        with ExitStack() as stack:
            for part in (self.batches, self.calls, self.graphs, self.modules, self.parameters, self.schedules):
                stack.enter_context(part.listening())
            yield

    def notes(self) -> dict[str, Any]:
        """Return what was noted so far."""
        return {
            "check": {
                "batches": self.batches.notes(),
                "annotations": self.calls.contradictions,
                "calls": self.calls.shapes(),
                "graphs": self.graphs.notes(),
                "made": self.modules.notes(),
                "parameters": self.parameters.notes(),
                "repeated": self.parameters.repeated,
                "schedules": self.schedules.notes(),
            }
        }
