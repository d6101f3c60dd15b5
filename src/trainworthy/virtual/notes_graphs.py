"""Which backward passes left their graph alive: a token lies in the metadata of each loss and dies with its graph."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from trainworthy.virtual.gpu import VirtualGpu

_KEY = "trainworthy-graph"


class _Token:
    __slots__ = ("__weakref__",)


class GraphNotes:
    """Notes, at the end of every step, of how many earlier steps a graph is alive."""

    def __init__(self, gpu: VirtualGpu) -> None:
        self._recorder = gpu.recorder
        self._tokens: list[tuple[int, int, weakref.ref[_Token]]] = []  # step, source, token
        self._alive: list[list[Any]] = []

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen while the context is open."""
        on_backward, on_step_end = self._recorder.backward.on_backward, self._recorder.steps.on_step_end
        on_backward.append(self._backward)
        on_step_end.append(self._step_ends)
        try:
            yield
        finally:
            on_backward.remove(self._backward)
            on_step_end.remove(self._step_ends)

    def notes(self) -> list[list[Any]]:
        """Return ``[step, earlier steps with a living graph, path, line]`` for every step."""
        return self._alive

    def _backward(self, outputs: Any) -> None:
        source, _ = self._recorder.finder.find(sys._getframe(1))
        for output in outputs if isinstance(outputs, (list, tuple)) else (outputs,):
            node: Any = output.grad_fn if isinstance(output, torch.Tensor) else None
            if node is not None:
                token = node.metadata[_KEY] = _Token()
                self._tokens.append((self._recorder.steps.current, source, weakref.ref(token)))

    def _step_ends(self, step: int) -> None:
        self._tokens = [token for token in self._tokens if token[2]() is not None]
        alive = {at: source for at, source, _ in self._tokens}
        if alive:
            source = self._recorder.finder.sources[alive[max(alive)]]
            self._alive.append([step, len(alive), source.path, source.line])
