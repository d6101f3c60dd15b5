"""DataLoaders: what they give, and how long the training waits for it. They are never iterated by the guard."""

from __future__ import annotations

import gc
import sys
import time
import weakref
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from types import FrameType
from typing import Any

import torch
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, IterableDataset
from torch.utils.data.dataloader import _BaseDataLoaderIter

from trainworthy.check.finding import Place
from trainworthy.check.live.facts_seldom import PendingWindow
from trainworthy.check.live.facts_steps import Batch, Loader
from trainworthy.check.live.generators import set_at, stored_generators
from trainworthy.check.live.loading import Loading
from trainworthy.check.live.operators import OperatorWatch
from trainworthy.check.live.samplers import SamplerWatch
from trainworthy.check.live.watch import Watch, plain

_MANY_OBJECTS = 1_000_000
_ENTRIES = 16
_UNFILLED = 3  # epochs without a step, before anybody wonders
_MAX_ROWS, _ROW_BYTES, _ROW_BATCHES = 512, 2048, 32  # of an iterable data set whose samples are told apart
_HASHED_BYTES = 1 << 18  # of each tensor of a batch


class LoaderWatch:
    """Notices when a DataLoader begins an epoch and each batch that it gives."""

    compiled_code_sees_it = False

    def __init__(self, watch: Watch, operators: OperatorWatch) -> None:
        self.watch = watch
        self.operators = operators
        self.loading = Loading(watch, operators)
        self.samplers = SamplerWatch(watch)
        self.on_begin: list[Callable[[Any, Place], None]] = []  # the iterator, where it is made
        self.on_epoch: list[Callable[[Any, int, FrameType], None]] = []  # a loader, its number, who goes through it
        self.on_batch: list[Callable[[int], None]] = []
        self.batch_size: int | None = None  # of the last batch, by the first tensor in it
        self.texts = 0  # in the last batch
        self.last: int | None = None  # the number of the loader that gave it
        self.wait_s = 0.0
        self._numbers: dict[int, int] = {}
        self._known: dict[int, int] = {}  # place in the facts
        self._epochs: dict[int, int] = {}
        self._iterators: weakref.WeakKeyDictionary[Any, list[int]] = weakref.WeakKeyDictionary()
        self._loaders: dict[int, weakref.ref[Any]] = {}

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Replace ``DataLoader.__iter__`` and ``__next__`` of its iterators while the context is open."""
        begin, give = DataLoader.__iter__, _BaseDataLoaderIter.__next__

        def watched_iter(loader: Any) -> Any:
            with self.operators.set_aside():  # workers that are forked now do not inherit the mode
                iterator = begin(loader)
            if self.watch.looking and isinstance(iterator, _BaseDataLoaderIter):
                self.watch.rely_on("loaders", self._begins, loader, iterator, sys._getframe(1))
            return iterator

        def watched_next(iterator: Any) -> Any:
            started = time.perf_counter()
            with self.operators.set_aside(), self.loading.of(iterator):
                batch = give(iterator)
            if self.watch.looking:
                with self.watch.own_work():
                    self.watch.rely_on("loaders", self._gives, iterator, batch, time.perf_counter() - started)
            return batch

        loaders: Any = DataLoader
        iterators: Any = _BaseDataLoaderIter
        loaders.__iter__, iterators.__next__ = watched_iter, watched_next
        try:
            yield
        finally:
            loaders.__iter__, iterators.__next__ = begin, give

    def _begins(self, loader: Any, iterator: Any, frame: FrameType) -> None:
        ref = self._loaders.get(id(loader))
        if ref is None or ref() is not loader:
            self._loaders[id(loader)] = weakref.ref(loader)
            number = self._numbers[id(loader)] = len(self._known)
            self._known[number] = len(self.watch.facts.loaders)
            self.watch.facts.loaders.append(self._describe(loader, number))
        number = self._numbers[id(loader)]
        self._note_pending(self._epochs.get(number, -1))
        epoch = self._epochs[number] = self._epochs.get(number, -1) + 1
        fact = self.watch.facts.loaders[self._known[number]]
        sampler_epoch = getattr(loader.sampler, "epoch", None)
        seen = (*fact.sampler_epochs, int(sampler_epoch)) if isinstance(sampler_epoch, int) else fact.sampler_epochs
        self.watch.facts.loaders[self._known[number]] = replace(fact, epochs=(*fact.epochs, epoch), sampler_epochs=seen)
        self._iterators[iterator] = [number, epoch, 0]
        self.samplers.loader_begins(loader, fact.place)
        for listener in self.on_begin:
            listener(iterator, fact.place)
        for listen in self.on_epoch:
            listen(loader, number, frame)

    def _note_pending(self, epochs: int) -> None:
        """Note gradients that wait for a step while a loader begins again."""
        facts = self.watch.facts
        waiting = [b.place for b in facts.backwards if b.step == self.watch.step]
        if epochs >= 0 and waiting and torch.is_grad_enabled():
            unfilled = self.watch.step == 0 and len(facts.pending) == _UNFILLED - 1
            facts.pending.append(PendingWindow(
                place=waiting[-1], pending=len(waiting), step=self.watch.step,
                idle_optimizer=_idle_optimizer(self.watch.names.alive()) if unfilled else None,
            ))  # fmt: skip

    def _describe(self, loader: Any, number: int) -> Loader:
        by_batch = loader.batch_sampler if type(loader.batch_sampler) is BatchSampler else loader
        sampler = by_batch.sampler
        stored = sorted(stored_generators(loader.dataset), key=lambda one: one.name)
        return Loader(
            place=self.watch.place(), loader=number, num_workers=loader.num_workers,
            sampler=type(sampler).__name__, batch_size=by_batch.batch_size,
            has_worker_init=loader.worker_init_fn is not None,
            stored_generators=tuple(sorted(one.name for one in stored)),
            made_at=self.watch.made_at(loader),
            iterated_at=self.watch.defined_at(getattr(type(loader.dataset), "__iter__", None)),
            generator_set_at=self.watch.attempt("generators", set_at, self.watch, stored[0]) if stored else None,
            world_size=int(getattr(sampler, "num_replicas", 1) or 1),
            large_containers=tuple(_large_containers(loader.dataset)) if loader.num_workers else (),
            dataset_size=_size_of(sampler), drop_last=bool(by_batch.drop_last), in_training=torch.is_grad_enabled(),
            shuffles=getattr(sampler, "shuffle", False) is True, shared_size=_shared_size(sampler),
            sampler_place=self.samplers.places.get(sampler) if isinstance(sampler, DistributedSampler) else None,
        )  # fmt: skip

    def _gives(self, iterator: Any, batch: Any, wait_s: float) -> None:
        self.wait_s += wait_s
        state = self._iterators.get(iterator)
        tensors = list(tensors_in(batch))
        self.batch_size = tensors[0].shape[0] if tensors and tensors[0].dim() else None
        self.texts = _texts_in(batch)
        self.last = state[0] if state is not None else None
        if state is None:
            return
        for listener in self.on_batch:
            listener(state[0])
        fact = self.watch.facts.loaders[self._known[state[0]]]
        floats = [t for t in tensors if t.is_floating_point() and plain(t) and t.device.type == "cpu" and t.numel()]
        hashed = fact.num_workers > 1 and floats
        is_iterable = isinstance(getattr(iterator, "_dataset", None), IterableDataset)
        opens = state[2] == 0 and len(tensors) and all(plain(t) and t.device.type == "cpu" for t in tensors)
        in_turn = fact.num_workers > 1 and is_iterable and getattr(iterator, "_in_order", True)
        self.watch.facts.batches.append(Batch(
            step=self.watch.step, place=fact.place, loader=state[0], epoch=state[1], index=state[2],
            num_workers=fact.num_workers, content=content_hash(floats) if hashed else None,
            constant=all(bool((t == t.reshape(-1)[0]).all()) for t in floats) if hashed else False,
            is_iterable=is_iterable, wait_s=wait_s,
            rows=row_hashes(tensors) if in_turn and state[2] < _ROW_BATCHES else (),
            shapes=tuple(tuple(t.shape) for t in tensors[:16]), opening=content_hash(tensors) if opens else None,
        ))  # fmt: skip
        state[2] += 1


def _large_containers(dataset: Any) -> Iterator[tuple[str, int]]:
    """Yield attributes that hold a million Python objects or more, by what the first entries hold."""
    for name, value in list(getattr(dataset, "__dict__", {}).items()):
        if isinstance(value, (list, tuple, dict, set)) and len(value) >= _MANY_OBJECTS // 100:
            entries = list(islice(value.values() if isinstance(value, dict) else value, _ENTRIES))
            count = int(len(value) * sum(map(_objects_in, entries)) / len(entries))
            if count >= _MANY_OBJECTS:
                yield name, count


def _texts_in(batch: Any) -> int:
    """Return the length of the list of texts, not all alike, that a batch holds; 0 if it holds none."""
    parts = batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, (list, tuple)) else ()
    lists = [one for one in parts if isinstance(one, (list, tuple)) and one and isinstance(one[0], str)]
    return next((len(one) for one in lists if any(text != one[0] for text in one)), 0)


def _objects_in(value: Any) -> int:
    """Count an object and what it holds, if that is a plain container."""
    if isinstance(value, dict):
        return 1 + 2 * len(value)
    return 1 + len(value) if isinstance(value, (list, tuple, set)) else 1


def _shared_size(sampler: Any) -> int | None:
    """Return how many samples a sampler shares among ranks, if it takes some twice so that each has as many."""
    is_torchs = type(sampler) is DistributedSampler and not sampler.drop_last
    return len(sampler.dataset) if is_torchs else None


def _size_of(sampler: Any) -> int | None:
    """Return how many samples an epoch has; None where that is not known."""
    try:
        return len(sampler)
    except (TypeError, NotImplementedError, AttributeError):
        return None


def _idle_optimizer(models: Iterable[torch.nn.Module]) -> str | None:
    """Find an optimizer that has something to do for models that were called, where none has stepped yet."""
    waiting = {id(p) for model in models for p in model.parameters() if p.grad is not None}
    for one in gc.get_objects():
        if issubclass(type(one), torch.optim.Optimizer) and any(  # isinstance would ask proxies what they stand for
            id(p) in waiting for group in one.param_groups for p in group["params"]
        ):
            return type(one).__name__
    return None


def tensors_in(value: Any, depth: int = 0) -> Iterator[torch.Tensor]:
    """Yield the tensors of a batch, in order."""
    if isinstance(value, torch.Tensor):
        yield value
    elif depth < 3:
        if isinstance(value, Mapping):
            value = list(value.values())
        if isinstance(value, (list, tuple)):
            for item in value[:64]:
                yield from tensors_in(item, depth + 1)


def content_hash(tensors: list[torch.Tensor]) -> int:
    """Hash the beginning of some tensors, by their bytes."""
    value = 0
    for tensor in tensors:
        head = tensor.detach().reshape(-1)[: _HASHED_BYTES // tensor.element_size()].contiguous()
        value = zlib.crc32(head.view(torch.uint8).numpy().tobytes(), value)
    return value


def row_hashes(tensors: list[torch.Tensor]) -> tuple[int, ...]:
    """Hash the beginning of each sample of a batch, by the bytes of all its tensors; nothing where that is much."""
    count = tensors[0].shape[0] if tensors and tensors[0].dim() else 0
    whole = [t.detach() for t in tensors if t.dim() and t.shape[0] == count and plain(t) and t.device.type == "cpu"]
    if not 0 < count <= _MAX_ROWS or len(whole) < len(tensors):
        return ()
    heads = [t.reshape(count, -1)[:, : _ROW_BYTES // t.element_size()].contiguous() for t in whole if t.numel()]
    rows = [head.view(torch.uint8).numpy() for head in heads]
    return tuple(zlib.crc32(b"".join(row[i].tobytes() for row in rows)) for i in range(count)) if rows else ()
