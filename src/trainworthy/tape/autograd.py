"""What the autograd engine is doing, and which forward operation a backward one belongs to.

A backward node carries the sequence number it was given when its forward operation ran. While that
operation is dispatched, the thread's counter already stands one higher, so the number of a forward
operation is the counter minus one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
import torch.autograd

from trainworthy.tape.record import PHASES

if TYPE_CHECKING:
    from trainworthy.tape.recorder import Recorder

_RECOMPUTE, _BACKWARD = PHASES.index("recompute"), PHASES.index("backward")
_current_task = torch._C._current_graph_task_id
_current_node: Any = torch._C._current_autograd_node
_counter = torch._C._autograd._get_sequence_nr


class BackwardWatch:
    """Places operations that run inside the autograd engine."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._places: dict[int, tuple[int, int]] = {}
        self._create_graph: list[bool] = []
        self._node: Any = None

    @property
    def in_backward(self) -> bool:
        """Whether the engine is running."""
        return bool(_current_task() != -1)

    def note_forward(self, module: int, source: int) -> None:
        """Remember where the operation ran whose autograd node was made last."""
        self._places.setdefault(_counter() - 1, (module, source))

    def place(self) -> tuple[int, int, int] | None:
        """Return phase, module and source of an operation inside the engine, else ``None``."""
        if _current_task() == -1:
            return None
        create_graph = bool(self._create_graph and self._create_graph[-1])
        module, source = self._forward_place()
        if torch.is_grad_enabled() and not create_graph:
            # A backward pass runs without grad mode; what runs with it recomputes a forward pass.
            source, _ = self._recorder.finder.find(sys._getframe(4))
            module = self._recorder.modules.current or module
            self.note_forward(module, source)
            return _RECOMPUTE, module, source
        if create_graph:
            self.note_forward(module, source)
        return _BACKWARD, module, source

    def _forward_place(self) -> tuple[int, int]:
        node = _current_node()
        if node is None:
            return 0, 0
        found = self._places.get(node._sequence_nr())
        if found is not None:
            return found
        parameter = getattr(node, "variable", None)  # AccumulateGrad has no sequence number
        if parameter is not None:
            return self._recorder.use_of_parameter(parameter)
        return 0, 0

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Watch backward passes while the context is open."""
        homes: tuple[Any, ...] = (torch.autograd.graph, torch.autograd)
        run = homes[0]._engine_run_backward
        watch = self

        def watched(outputs: Any, *args: Any, **kwargs: Any) -> Any:
            create_graph = kwargs.get("create_graph", args[2] if len(args) > 2 else False)
            return watch._run(run, bool(create_graph), outputs, *args, **kwargs)

        for home in homes:
            home._engine_run_backward = watched
        try:
            yield
        finally:
            for home in homes:
                home._engine_run_backward = run

    def _run(self, run: Any, create_graph: bool, *args: Any, **kwargs: Any) -> Any:
        recorder = self._recorder
        outermost = not self._create_graph
        if outermost:
            recorder.steps.backward_begins()
        self._create_graph.append(create_graph)
        try:
            out = run(*args, **kwargs)
        finally:
            self._create_graph.pop()
        if outermost:
            recorder.steps.backward_ended()
            if not create_graph and len(self._places) > 200_000:
                self._places.clear()
        return out
