"""Which line of the user's code made which module of the model."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch import nn

from trainworthy.tape.source import maker

if TYPE_CHECKING:
    from trainworthy.virtual.gpu import VirtualGpu


class ModuleNotes:
    """Notes where modules are made; told by the names that the tape has for them, without their numbers."""

    def __init__(self, gpu: VirtualGpu) -> None:
        self._recorder = gpu.recorder
        self._made: dict[
            int, tuple[weakref.ref[nn.Module], int]
        ] = {}  # by identity: modules define hashes of their own
        self._told: dict[str, list[Any]] = {}

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen while the context is open."""
        init, on_step_end = nn.Module.__init__, self._recorder.steps.on_step_end

        def noted(module: nn.Module, *args: Any, **kwargs: Any) -> None:
            init(module, *args, **kwargs)
            number, _ = self._recorder.finder.find(maker(sys._getframe(1), module))
            self._made[id(module)] = (weakref.ref(module), number)

        nn.Module.__init__ = noted  # type: ignore[method-assign, assignment]
        on_step_end.append(self._step_ends)
        try:
            yield
        finally:
            nn.Module.__init__ = init  # type: ignore[method-assign]
            on_step_end.remove(self._step_ends)

    def notes(self) -> dict[str, list[Any]]:
        """Return ``[path, line]`` for each name of a module; the first one's, where several are alike."""
        self._step_ends(0)
        return self._told

    def _step_ends(self, step: int) -> None:
        for module, template in self._recorder.modules.named():
            ref, number = self._made.get(id(module), (None, 0))
            source = self._recorder.finder.sources[number]
            if ref is not None and ref() is module and source.path:
                self._told.setdefault(template, [source.path, source.line])
