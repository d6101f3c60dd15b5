"""Samplers: who made them, whether one draws more than there is, and whether a loader goes through them."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.utils.data import DistributedSampler, WeightedRandomSampler

from trainworthy.check.finding import Place
from trainworthy.check.live.facts_seldom import Draw, IdleSampler
from trainworthy.check.live.watch import Watch

_LOOK = "samplers"


class SamplerWatch:
    """Looks at two of torch's samplers when they are made, and when they are used.

    Attributes:
        places: Where each was made.
    """

    compiled_code_sees_it = False

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.places: weakref.WeakKeyDictionary[Any, Place] = weakref.WeakKeyDictionary()
        self._asked: weakref.WeakSet[Any] = weakref.WeakSet()  # for an order of samples
        self._told: weakref.WeakSet[Any] = weakref.WeakSet()  # the epoch
        self._through: list[tuple[weakref.ref[Any], Place]] = []  # loaders that training went through
        self._idle: dict[int, IdleSampler] = {}

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Replace methods of the samplers while the context is open."""
        seams: list[tuple[Any, str, Callable[[Any], None]]] = [
            (WeightedRandomSampler, "__init__", self._made), (DistributedSampler, "__init__", self._made),
            (DistributedSampler, "__iter__", self._ask), (DistributedSampler, "set_epoch", self._told.add),
        ]  # fmt: skip
        with ExitStack() as stack:
            for kind, name, note in seams:
                method = getattr(kind, name)
                setattr(kind, name, self._noting(method, note))
                stack.callback(setattr, kind, name, method)
            yield

    def _noting(self, method: Callable[..., Any], note: Callable[[Any], None]) -> Callable[..., Any]:
        @functools.wraps(method)
        def noted(sampler: Any, *args: Any, **kwargs: Any) -> Any:
            out = method(sampler, *args, **kwargs)
            if self.watch.looking:
                self.watch.attempt(_LOOK, note, sampler)
            return out

        return noted

    def _made(self, sampler: Any) -> None:
        self.places[sampler] = self.watch.place()
        if isinstance(sampler, WeightedRandomSampler):
            self._look(sampler)

    def _look(self, sampler: Any) -> None:
        with self.watch.own_work():
            available = int((torch.as_tensor(sampler.weights) != 0).sum())
        if not sampler.replacement and available < int(sampler.num_samples) <= len(sampler.weights):
            self.watch.facts.draws.append(Draw(
                step=self.watch.step, place=self.watch.place(), wanted=int(sampler.num_samples), available=available,
            ))  # fmt: skip

    def loader_begins(self, loader: Any, place: Place) -> None:
        """Note a loader that training goes through."""
        if torch.is_grad_enabled() and all(known() is not loader for known, _ in self._through):
            self._through.append((weakref.ref(loader), self.watch.made_at(loader) or place))

    def steps_are_over(self) -> None:
        """Find samplers that share data out among ranks, while training went through all of it.

        One that is made for a single process may be left out on purpose, unless it is told the epoch. Who asks for it
        later takes it off the list again.
        """
        for sampler, place in list(self.places.items()):
            # One of a class of its own may go through the data in a way that is not seen here.
            shares = type(sampler) is DistributedSampler and sampler not in self._asked
            if not shares or not (sampler.num_replicas > 1 or sampler in self._told):
                continue
            for ref, at in self._through:
                loader = ref()
                if loader is not None and loader.dataset is sampler.dataset:
                    self._idle[id(sampler)] = IdleSampler(
                        place=at, made=place, used=type(loader.sampler).__name__, replicas=int(sampler.num_replicas)
                    )

    def finish(self) -> None:
        """Write down the samplers that nobody asked."""
        self.steps_are_over()
        self.watch.facts.idle_samplers += self._idle.values()
        self._idle.clear()

    def _ask(self, sampler: Any) -> None:
        self._asked.add(sampler)
        self._idle.pop(id(sampler), None)
