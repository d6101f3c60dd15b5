"""Data sets whose samples change when they are taken: a transform or a collate function writes into what is stored.

A copy of the data set, if it is small enough to copy, is asked for its first samples twice, with the random number
generators in the same state; between the two the samples are collated, as a batch of the loader would be. Samples that
differ the second time, when what the copy stores differs too, were changed in place. The user's data set is left alone.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import IterableDataset

from trainworthy.check.finding import Place
from trainworthy.check.live.facts_seldom import ChangedSample
from trainworthy.check.live.loaders import stored_generators
from trainworthy.check.live.probes import undisturbed
from trainworthy.check.live.watch import Watch

_MAX_BYTES = 128 * 1024**2
_MAX_OBJECTS = 200_000
_SAMPLES = 4

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
        if not self.may_call or dataset is None or id(dataset) in self._seen or isinstance(dataset, IterableDataset):
            return
        self._seen.add(id(dataset))
        with self.watch.own_work(), undisturbed():
            self.watch.attempt("data sets", self._look, dataset, getattr(iterator, "_collate_fn", None), place)

    def _look(self, dataset: Any, collate: Any, place: Place) -> None:
        if not _may_be_copied(dataset) or any(True for _ in stored_generators(dataset)):
            return
        try:
            twin = copy.deepcopy(dataset)
            found = _changed(twin, collate)
        except Exception:  # the user's code may want other keys, open files, or a process of its own
            return
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


def _changed(twin: Any, collate: Any) -> tuple[str, str, str] | None:
    """Say by what a sample changes, which part of it, and which attribute of the data set with it."""
    at = range(min(_SAMPLES, len(twin)))
    before = _stored(twin)
    first = _taken(twin, at)
    kept = [_content(one) for one in first]
    again = [_content(one) for one in _taken(twin, at)]
    stored = _first_difference(before, _stored(twin))
    where = _first_difference(kept[0], again[0])
    if where and stored:
        return "__getitem__", where, stored
    if where or len(first) < 2 or collate is None:
        return None
    before, first = _stored(twin), _taken(twin, at)
    with undisturbed():
        collate(first)
    again = [_content(one) for one in _taken(twin, at)]
    stored = _first_difference(before, _stored(twin))
    where = next((found for a, b in zip(kept, again, strict=True) if (found := _first_difference(a, b))), "")
    return ("collate", where, stored) if where and stored else None


def _taken(dataset: Any, at: range) -> list[Any]:
    with undisturbed():
        return [dataset[i] for i in at]


def _first_difference(before: Content, after: Content) -> str:
    """Name the first part that differs in value; "" if none does. What was not there before is no change."""
    later = dict(after)
    return next((path or "the sample" for path, value in before if path in later and not _same(value, later[path])), "")


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


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


def _may_be_copied(dataset: Any) -> bool:
    """Say whether a data set is small: its tensors and arrays, and the objects in it."""
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
        elif not isinstance(one, (int, float, type)):
            left += [each for _, each in _parts(one)]
        if size > _MAX_BYTES or count > _MAX_OBJECTS:
            return False
    return hasattr(dataset, "__dict__")
