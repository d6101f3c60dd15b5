"""When a rehearsal ends: after N optimizer steps, with every evaluation seen once.

=====================================  =======================================================
after N steps                          DataLoaders end at their next batch, so that a script
                                       reaches its evaluation
the next training forward or backward  raises ``RehearsalComplete``
evaluation (no grad)                   two batches of a DataLoader; of equal forward passes of
                                       one model in eval mode two are run (``script_eval.py``)
a bare ``except:`` around the loop     it is raised again; after three times ``on_stuck`` ends
                                       the process
=====================================  =======================================================
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from trainworthy.virtual.check_notes import CheckNotes
from trainworthy.virtual.gpu import VirtualGpu
from trainworthy.virtual.script_eval import EvaluationMemo
from trainworthy.virtual.script_loaders import LoaderCuts
from trainworthy.virtual.step_notes import StepNotes

_MAX_RAISES = 3


class RehearsalComplete(BaseException):
    """Raised inside a script to end it: enough steps were seen."""


class Session:
    """Applies the stop rule to whatever runs inside ``installed()``.

    Attributes:
        finishing: Whether the wanted number of steps has been seen.
        on_step: Called with the number of each completed step.
        stopped_at: The line (path and number) at which the script was ended, if it was.
        on_stuck: Called when the script does not let itself be ended; must not return.
        whole_evaluation: Whether evaluation loops before the last step run in full.
        evaluation_was_cut: Whether one of those was cut short.
    """

    def __init__(
        self,
        gpu: VirtualGpu,
        *,
        steps: int = 2,
        on_step: Callable[[int], None] = lambda step: None,
        on_stuck: Callable[[], None] | None = None,
        whole_evaluation: bool = False,
        resize: dict[str, Any] | None = None,
        keep_shapes: bool = False,
    ) -> None:
        self.gpu = gpu
        self.steps = steps
        self.on_step = on_step
        self.on_stuck = on_stuck
        self.whole_evaluation = whole_evaluation
        self._resize, self._keep_shapes = resize, keep_shapes
        self.evaluation_was_cut = False
        self.finishing = False
        self.trained = False
        self._raises = 0
        self.stopped_at: dict[str, Any] | None = None

    @property
    def completed(self) -> int:
        """Number of optimizer steps that were completed."""
        return self.gpu.recorder.steps.completed

    @contextmanager
    def installed(self) -> Iterator[Session]:
        """Apply the stop rule while the context is open."""
        counter = self.gpu.recorder.steps
        counter.on_step_end.append(self._step_ended)
        counter.on_train_forward.append(self._training_forward)
        backward_begins = counter.backward_begins

        def backward() -> None:
            self._stop_if_finishing()
            backward_begins()

        counter.backward_begins = backward  # type: ignore[method-assign]
        with ExitStack() as stack:
            self.gpu.step_notes = StepNotes(self.gpu)
            stack.enter_context(self.gpu.step_notes.listening())
            self.gpu.check_notes = CheckNotes(self.gpu, resize=self._resize, keep_shapes=self._keep_shapes)
            stack.enter_context(self.gpu.check_notes.listening())
            cuts = LoaderCuts(self)
            stack.enter_context(cuts.installed())
            stack.enter_context(EvaluationMemo(self.gpu, cuts.note_evaluation).installed())
            try:
                yield self
            finally:
                del counter.backward_begins
                counter.on_step_end.remove(self._step_ended)
                counter.on_train_forward.remove(self._training_forward)

    def complete(self) -> None:
        """End the script here.

        Raises:
            RehearsalComplete: Always, unless the script swallowed it before and ``on_stuck`` ends the process.
        """
        self._raises += 1
        if self.stopped_at is None:
            finder = self.gpu.recorder.finder
            number, _ = finder.find(sys._getframe(1))
            self.stopped_at = {"path": finder.sources[number].path, "line": finder.sources[number].line}
        if self._raises > _MAX_RAISES and self.on_stuck is not None:
            self.on_stuck()
        raise RehearsalComplete

    def _step_ended(self, step: int) -> None:
        self.on_step(step)
        if step >= self.steps:
            self.finishing = True

    def _training_forward(self) -> None:
        self.trained = True
        self._stop_if_finishing()

    def _stop_if_finishing(self) -> None:
        if self.finishing and torch.is_grad_enabled():
            self.complete()
