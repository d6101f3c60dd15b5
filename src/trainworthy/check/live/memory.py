"""Parameters that share memory without being one, and buffers that carry a graph from step to step."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from trainworthy.check.finding import Place
from trainworthy.check.live.backward import walk
from trainworthy.check.live.facts_setup import BufferWithGraph, SharedMemory
from trainworthy.check.live.names import unwrap
from trainworthy.check.live.watch import Watch, plain

_STEPS, _FIRST = 3, 8  # over which graphs must grow; in which they are looked at


class MemoryWatch:
    """Looks at each model after one of its steps; needs no seam of its own."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self._looked: set[int] = set()
        self._told: set[int] = set()
        self._nodes: dict[int, list[int]] = {}  # of the graphs of a model's buffers, step by step

    def step_ends(self, place: Place) -> None:
        """Look at the models that ran."""
        for model in self.watch.names.alive():
            if id(model) not in self._looked:
                self._looked.add(id(model))
                self.watch.attempt("memory of parameters", self._look_at_parameters, model)
            if self.watch.step < _FIRST and id(model) not in self._told:
                self.watch.attempt("buffers", self._look_at_buffers, model, place)

    def _look_at_parameters(self, model: nn.Module) -> None:
        """Note the first two parameters that begin at one address with one shape; what FSDP has freed is nowhere."""
        known: dict[tuple[int, tuple[int, ...]], str] = {}
        for name, parameter in unwrap(model).named_parameters():
            if not plain(parameter) or parameter.numel() < 2 or not parameter.requires_grad:
                continue
            at = (parameter.data_ptr(), tuple(parameter.shape))
            if not at[0]:
                continue
            if at in known:
                calls = [f.place for f in self.watch.facts.forwards]
                self.watch.facts.shared_memory.append(SharedMemory(
                    place=calls[0] if calls else self.watch.facts.home, names=(known[at], name),
                    model=type(unwrap(model)).__name__, shape=at[1],
                ))  # fmt: skip
                return
            known[at] = name

    def _look_at_buffers(self, model: nn.Module, place: Place) -> None:
        with_graph = {name: buffer.grad_fn for name, buffer in unwrap(model).named_buffers() if buffer.grad_fn}
        found = list(with_graph)
        sizes = self._nodes.setdefault(id(model), [])
        sizes.append(len(walk(list(with_graph.values()))))
        if found and len(sizes) >= _STEPS and all(a < b for a, b in pairwise(sizes[-_STEPS:])):
            self._told.add(id(model))
            self.watch.facts.buffers_with_graph.append(
                BufferWithGraph(place=place, names=tuple(found), model=type(unwrap(model)).__name__)
            )
