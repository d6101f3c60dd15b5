"""Data sets whose samples change when they are taken: a transform or a collate function writes into what is stored.

A child process, forked as a worker of a DataLoader is, asks the data set for its first samples twice, with the random
number generators in the same state; between the two the samples are collated, as a batch of the loader would be.
Samples that differ the second time, when what the data set stores differs too, were changed in place. What the child
does to memory is gone with it: the training's own data set is left alone.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.data import IterableDataset

from trainworthy.check.finding import Place
from trainworthy.check.live.facts_seldom import ChangedSample
from trainworthy.check.live.loaders import stored_generators
from trainworthy.check.live.twins import undisturbed
from trainworthy.check.live.watch import Watch

_MAX_BYTES = 128 * 1024**2
_MAX_OBJECTS = 200_000
_SAMPLES = 4
_MAX_LOOKS = 8  # a program may make a data set for each episode
_LIMIT_S = 10.0
_MAX_SAID = 2**16
_exit = os._exit

Content = tuple[tuple[str, Any], ...]


class DatasetWatch:
    """Looks at each data set once, when a loader begins to go through it."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.may_call = True
        self._seen: set[int] = set()

    def begins(self, iterator: Any, place: Place) -> None:
        """Look at the data set of an iterator."""
        dataset = getattr(iterator, "_dataset", None)
        if not self.may_call or dataset is None or isinstance(dataset, IterableDataset):
            return
        if id(dataset) in self._seen or len(self._seen) >= _MAX_LOOKS:
            return
        self._seen.add(id(dataset))
        with self.watch.own_work(), undisturbed():
            self.watch.attempt("data sets", self._look, dataset, getattr(iterator, "_collate_fn", None), place)

    def _look(self, dataset: Any, collate: Any, place: Place) -> None:
        if not sys.platform.startswith("linux") or not _is_small(dataset) or any(stored_generators(dataset)):
            return
        found = _in_a_child(lambda: _changed(dataset, collate))
        if found is not None:
            by, where, stored = found
            functions = [_collating(collate)] if by == "collate" else _getters(dataset)
            places = [at for one in functions if (at := self.watch.defined_at(one)) is not None]
            self.watch.facts.changed_samples.append(ChangedSample(
                place=places[-1] if places else place, loader=place, dataset=type(dataset).__name__, by=by, where=where,
                stored=stored,
            ))  # fmt: skip


def _collating(collate: Any) -> Any:
    return collate if hasattr(collate, "__code__") else type(collate).__dict__.get("__call__")


def _getters(dataset: Any) -> list[Any]:
    """Return what takes a sample: of the data set, and of those that it wraps."""
    found: list[Any] = []
    while dataset is not None and len(found) < 8:
        found.append(getattr(type(dataset), "__getitem__", None))
        dataset = getattr(dataset, "dataset", None)
    return found


def _in_a_child(look: Callable[[], Any]) -> Any:
    """Return what a function returns in a forked process, as far as JSON holds it; None if it fails or takes long.

    As in the workers of a DataLoader, torch computes with one thread there: its pool does not survive a fork.
    """
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads, which a worker's fork has, too
        child = os.fork()
    if not child:
        try:
            for stream in (1, 2):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
            torch.set_num_threads(1)
            os.write(writing, json.dumps(look()).encode())
        finally:
            _exit(0)
    os.close(writing)
    told = False
    try:
        told = bool(select.select([reading], [], [], _LIMIT_S)[0])
        said = os.read(reading, _MAX_SAID) if told else b""
    finally:  # also if somebody's alarm rings meanwhile
        if not told:
            os.kill(child, signal.SIGKILL)
        os.close(reading)
        os.waitpid(child, 0)
    return json.loads(said) if said else None


def _changed(dataset: Any, collate: Any) -> tuple[str, str, str] | None:
    """Say by what a sample changes, which part of it, and which part of the data set with it."""
    at = range(min(_SAMPLES, len(dataset)))
    before = _stored(dataset)
    kept = [_content(one) for one in _taken(dataset, at)]
    if any(stored_generators(dataset)):  # made when the first sample is taken, as it should be in a worker
        return None
    where, stored = _difference(kept[:1], dataset, at), _first_difference(before, _stored(dataset))
    if where and stored:
        return "__getitem__", where, stored
    if where or len(at) < 2 or collate is None:
        return None
    before, samples = _stored(dataset), _taken(dataset, at)
    with undisturbed():
        collate(samples)
    where, stored = _difference(kept, dataset, at), _first_difference(before, _stored(dataset))
    return ("collate", where, stored) if where and stored else None


def _difference(kept: list[Content], dataset: Any, at: range) -> str:
    """Name the first part that differs of samples that are taken again, or the error that this leads to."""
    try:
        again = [_content(one) for one in _taken(dataset, at)]
    except Exception as error:
        return type(error).__name__
    return next((found for a, b in zip(kept, again, strict=False) if (found := _first_difference(a, b))), "")


def _taken(dataset: Any, at: range) -> list[Any]:
    with undisturbed():
        return [dataset[i] for i in at]


def _first_difference(before: Content, after: Content) -> str:
    """Name the first part that differs in value, or is gone; "" if none does. What is new is no change."""
    later = dict(after)
    return next((path or "the sample" for path, value in before if value != later.get(path)), "")


def _stored(dataset: Any) -> Content:
    """Return what a data set holds: of a wrapper, what is in the data sets that it wraps."""
    return _content(vars(dataset))


def _content(value: Any) -> Content:
    return tuple(_leaves(value, "", set()))


def _leaves(value: Any, path: str, around: set[int]) -> Iterator[tuple[str, Any]]:
    """Yield the parts of a value, with their bytes or numbers; lists also with how long they are."""
    if id(value) in around or len(around) > 12:
        return
    if isinstance(value, torch.Tensor):
        yield (
            path,
            (tuple(value.shape), value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()),
        )
    elif _is_array(value):
        yield path, (value.shape, value.tobytes())
    elif isinstance(value, (str, bytes, int, float, bool)) or value is None:
        yield path, (value,)
    else:
        inner = around | {id(value)}
        for name, each in _parts(value):
            yield from _leaves(each, f"{path}{name}", inner)


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, (list, tuple)):
        yield "(length)", len(value)
        for i, each in enumerate(value):
            yield f"[{i}]", each
    elif isinstance(value, dict):
        for key, each in list(value.items()):
            yield f"[{key!r}]" if not isinstance(key, str) else f".{key}", each
    elif _is_image(value):
        yield "", value.tobytes()
    elif hasattr(value, "__dict__") and not isinstance(value, type) and not callable(value):
        yield from ((f".{name}", each) for name, each in vars(value).items())


def _is_array(value: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray) and value.dtype != object


def _is_image(value: Any) -> bool:
    image = sys.modules.get("PIL.Image")
    return image is not None and isinstance(value, image.Image)


def _is_small(dataset: Any) -> bool:
    """Say whether what a data set stores can be compared with itself quickly: by bytes and objects."""
    size, count = 0, 0
    left, seen = [dataset], set()
    while left:
        one = left.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        count += 1
        if isinstance(one, torch.Tensor):
            size += one.numel() * one.element_size()
        elif _is_array(one):
            size += one.nbytes
        elif isinstance(one, (str, bytes)):
            size += len(one)
        elif _is_image(one):  # which may not have been read from its file yet, and shall not be here
            size += 4 * one.width * one.height
        elif not isinstance(one, (int, float, type)):
            left += [each for _, each in _parts(one)]
        if size > _MAX_BYTES or count > _MAX_OBJECTS:
            return False
    return hasattr(dataset, "__dict__")
