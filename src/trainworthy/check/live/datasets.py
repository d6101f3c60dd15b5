"""Data sets whose samples change when they are taken: a transform or a collate function writes into what is stored.

A child process, forked as a worker of a DataLoader is, asks the data set for its first samples twice, with the random
number generators in the same state; between the two the samples are collated, as a batch of the loader would be.
Samples that differ the second time, when what the data set stores differs too, were changed in place. Where only what
is stored differs, as where the same pixels are blackened again, the second time gets other random numbers, and is
compared with what they give first of all. What a child does to memory is gone with it: the training's own data set is
left alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import select
import signal
import sys
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data import IterableDataset

from trainworthy.check.finding import Place
from trainworthy.check.live.contents import Content, content, first_difference, is_small, stored_by
from trainworthy.check.live.facts_seldom import ChangedSample
from trainworthy.check.live.generators import stored_generators
from trainworthy.check.live.twins import undisturbed
from trainworthy.check.live.watch import Watch
from trainworthy.check.live.writers import writing_line

_SAMPLES = 4
_MAX_LOOKS = 8  # a program may make a data set for each episode
_LIMIT_S = 10.0
_MAX_SAID = 2**16
_exit = os._exit


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
        if not sys.platform.startswith("linux") or not is_small(dataset) or any(stored_generators(dataset)):
            return
        found = _in_a_child(lambda: _changed(dataset, collate))
        if found is not None and not found[1]:
            found[1] = _in_a_child(lambda: _changed_later(dataset))
        if found is not None and found[1]:
            by, where, stored = found
            self.watch.facts.changed_samples.append(ChangedSample(
                place=self._writer(dataset, collate, by, stored) or place, loader=place, dataset=type(dataset).__name__,
                by=by, where=where, stored=stored,
            ))  # fmt: skip

    def _writer(self, dataset: Any, collate: Any, by: str, stored: str) -> Place | None:
        """Return the user's line that writes into a part of a data set; without it, the function that leads there."""
        is_user = self.watch.finder.is_user
        line = _in_a_child(lambda: writing_line(lambda: _once(dataset, collate, by), dataset, stored, is_user))
        if line is not None:
            return Place(self.watch.finder.relative(line[0]), line[1])
        functions = [_collating(collate)] if by == "collate" else _getters(dataset)
        places = [at for one in functions if (at := self.watch.defined_at(one)) is not None]
        return places[-1] if places else None


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
    """Say by what a sample changes, which part of it ("": none to be seen), and which part of the data set with it."""
    at = range(min(_SAMPLES, len(dataset)))
    before = stored_by(dataset)
    kept = [content(one) for one in _taken(dataset, at)]
    if any(stored_generators(dataset)):  # made when the first sample is taken, as it should be in a worker
        return None
    where = _difference(kept[:1], dataset, at)
    stored = first_difference(before, stored_by(dataset), of_data=not where)
    if where:
        return ("__getitem__", where, stored) if stored else None
    if len(at) > 1 and collate is not None:
        before, samples = stored_by(dataset), _taken(dataset, at)
        with undisturbed():
            collate(samples)
        where, by_collate = _difference(kept, dataset, at), first_difference(before, stored_by(dataset))
        if where and by_collate:
            return "collate", where, by_collate
    return ("__getitem__", "", stored) if stored else None


def _changed_later(dataset: Any) -> str:
    """Name the first part of the first sample that differs in the next epoch because it was taken in this one."""
    first = _in_a_child(lambda: _digests(dataset))
    _taken(dataset, range(1))
    later = _digests(dataset)
    return next((path or "the sample" for path, digest in first or () if digest != dict(later).get(path)), "")


def _digests(dataset: Any) -> list[tuple[str, str]]:
    """Return the parts of the first sample under random numbers of another epoch, short enough to be sent."""
    with undisturbed():
        torch.manual_seed(1)
        random.seed(1)
        if "numpy" in sys.modules:
            sys.modules["numpy"].random.seed(1)
        return [(path, hashlib.sha256(repr(part).encode()).hexdigest()) for path, part in content(dataset[0])]


def _once(dataset: Any, collate: Any, by: str) -> None:
    """Take samples, and collate them, as it was done when something changed."""
    samples = _taken(dataset, range(min(_SAMPLES, len(dataset))))
    if by == "collate":
        with undisturbed():
            collate(samples)


def _difference(kept: list[Content], dataset: Any, at: range) -> str:
    """Name the first part that differs of samples that are taken again, or the error that this leads to."""
    try:
        again = [content(one) for one in _taken(dataset, at)]
    except Exception as error:
        return type(error).__name__
    return next((found for a, b in zip(kept, again, strict=False) if (found := first_difference(a, b))), "")


def _taken(dataset: Any, at: range) -> list[Any]:
    with undisturbed():
        return [dataset[i] for i in at]
