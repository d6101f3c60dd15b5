"""What the autograd engine is doing, and which forward operation a backward one belongs to.

A backward node carries the sequence number it was given when its forward operation ran. While that
operation is dispatched, the thread's counter already stands one higher, so the number of a forward
operation is the counter minus one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
import torch.autograd

from trainworthy.tape.record import PHASES

if TYPE_CHECKING:
    from types import FrameType

    from trainworthy.tape.recorder import Recorder

_RECOMPUTE, _BACKWARD = PHASES.index("recompute"), PHASES.index("backward")
_current_task = torch._C._current_graph_task_id
_current_node: Any = torch._C._current_autograd_node
_counter = torch._C._autograd._get_sequence_nr
# An operation in place on a view makes up to three nodes after its own (the copy of slices, the views again).
_MAX_EXTRA_NODES = 4


def frame_at(depth: int) -> FrameType | None:
    """Return the ``depth``-th frame from here on; None where there are fewer.

    On a GPU the engine runs backward nodes in threads of its own, below which there is no Python.
    """
    try:
        return sys._getframe(depth)
    except ValueError:
        return None


class BackwardWatch:
    """Places operations that run inside the autograd engine."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._places: dict[int, tuple[int, int]] = {}
        self._modules_at: dict[int, set[int]] = {}  # by source
        self._create_graph: list[bool] = []
        self._functions = 0
        self._called_from = 0  # for what runs when no node does: callbacks at the end of a pass
        self.made_graph = False  # whether a backward pass was itself made to be differentiated
        self.on_backward: list[Callable[[Any], None]] = []  # told what a pass begins at

    @property
    def in_backward(self) -> bool:
        """Whether the engine is running."""
        return bool(_current_task() != -1)

    @property
    def grad_enabled(self) -> bool:
        """Whether what runs now is differentiated, if only as a whole, by a custom Function."""
        return torch.is_grad_enabled() or self._functions > 0

    @property
    def in_function(self) -> bool:
        """Whether the forward pass of a custom Function is running."""
        return self._functions > 0

    def note_forward(self, module: int, source: int) -> None:
        """Remember where the operation ran whose autograd node was made last."""
        self._places.setdefault(_counter() - 1, (module, source))
        self._modules_at.setdefault(source, set()).add(module)

    def _recomputed_module(self, source: int, cause: int) -> int:
        """Find the module of a recomputed operation that runs in none, from its line and the module that needs it."""
        modules = self._modules_at.get(source, set())
        for module in self._recorder.modules.ancestors(cause):
            if module in modules:
                return module
        return next(iter(modules)) if len(modules) == 1 else cause

    def place(self) -> tuple[int, int, int] | None:
        """Return phase, module and source of an operation inside the engine, else ``None``."""
        if _current_task() == -1:
            return None
        create_graph = bool(self._create_graph and self._create_graph[-1])
        module, source = self._forward_place()
        # The user's own code inside the engine: a hook, the backward of a Function, what is recomputed.
        own = self._recorder.finder.find_above(frame_at(5), BackwardWatch._run.__code__)
        if torch.is_grad_enabled() and not create_graph:
            # A backward pass runs without grad mode; what runs with it recomputes a forward pass.
            module = self._recorder.modules.current or self._recomputed_module(own, module)
            source = own or source
            self.note_forward(module, source)
            return _RECOMPUTE, module, source
        source = own or source or self._called_from
        if create_graph:
            self.note_forward(module, source)
        return _BACKWARD, module, source

    def _forward_place(self) -> tuple[int, int]:
        node = _current_node()
        if node is None:
            return 0, 0
        number = node._sequence_nr()
        for before in range(_MAX_EXTRA_NODES):
            found = self._places.get(number - before)
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

        function: Any = torch.autograd.Function
        apply = function.__dict__["apply"]

        def followed(cls: Any, *args: Any, **kwargs: Any) -> Any:
            return watch._apply(apply.__func__, cls, *args, **kwargs)

        function.apply = classmethod(followed)
        for home in homes:
            home._engine_run_backward = watched
        try:
            yield
        finally:
            function.apply = apply
            for home in homes:
                home._engine_run_backward = run

    def _apply(self, apply: Any, cls: Any, *args: Any, **kwargs: Any) -> Any:
        """Run a custom Function, whose forward pass runs without grad mode; its node stands for the calling line."""
        if not torch.is_grad_enabled():
            return apply(cls, *args, **kwargs)
        source, _ = self._recorder.finder.find(sys._getframe(2))
        number = _counter()
        self._places[number] = (self._recorder.modules.current, source)
        self._functions += 1
        try:
            return apply(cls, *args, **kwargs)
        finally:
            self._functions -= 1
            if _counter() == number:  # it made no node
                del self._places[number]

    def _run(self, run: Any, create_graph: bool, *args: Any, **kwargs: Any) -> Any:
        recorder = self._recorder
        outermost = not self._create_graph
        if outermost:
            self._called_from, _ = recorder.finder.find(sys._getframe(2))
            recorder.steps.backward_begins()
            for listener in self.on_backward:
                listener(args[0])
        self._create_graph.append(create_graph)
        self.made_graph = self.made_graph or create_graph
        try:
            out = run(*args, **kwargs)
        finally:
            self._create_graph.pop()
        if outermost:
            # torch.autograd.grad with create_graph makes a part of the loss, not the gradients of a step.
            recorder.steps.backward_ended(final=kwargs.get("accumulate_grad", False) or not create_graph)
            if not create_graph and len(self._places) > 200_000:
                self._places.clear()
        return out
