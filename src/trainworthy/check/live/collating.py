"""Collate functions: do all samples find their way into the batch?

Looked at in loaders without workers, and closely only where a batch has a tensor of one row beside others of as many
rows as there were samples: then the function is called twice more, on one sample alone, with the random number
generators put back. A tensor that is equal to what the first sample alone gives, and not to what the second gives,
holds nothing of the others.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from trainworthy.check.finding import Place
from trainworthy.check.live.facts_setup import Collated
from trainworthy.check.live.twins import undisturbed
from trainworthy.check.live.watch import Watch, plain

_BATCHES = 3


class CollateWatch:
    """Stands in for the collate function of iterators, which may live longer than the look."""

    compiled_code_sees_it = False

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.may_call = True
        self._suspect: dict[tuple[Place, str], int] = {}
        self._stood_in: list[tuple[weakref.ref[Any], Any, Any]] = []  # fetcher, its own function, ours

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Give the functions back when the context closes."""
        try:
            yield
        finally:
            for ref, collate, ours in self._stood_in:
                fetcher = ref()
                if fetcher is not None and fetcher.collate_fn is ours:
                    fetcher.collate_fn = collate
            self._stood_in.clear()

    def begins(self, iterator: Any, place: Place) -> None:
        """Listen to the collate function of an iterator that runs in this process."""
        fetcher = getattr(iterator, "_dataset_fetcher", None)
        collate = getattr(fetcher, "collate_fn", None)
        if fetcher is None or collate is None or not getattr(fetcher, "auto_collation", False):
            return
        looked = 0

        def collated(samples: Any) -> Any:
            nonlocal looked
            batch = collate(samples)
            if self.watch.looking and self.may_call and looked < _BATCHES and isinstance(samples, list):
                looked += 1
                with self.watch.own_work(), undisturbed():
                    self.watch.attempt("collate functions", self._look, collate, samples, batch, place)
            return batch

        fetcher.collate_fn = collated
        self._stood_in.append((weakref.ref(fetcher), collate, collated))

    def _look(self, collate: Any, samples: list[Any], batch: Any, place: Place) -> None:
        leaves = dict(_leaves(batch))
        full = next((t for t in leaves.values() if t.shape[0] == len(samples)), None)
        few = {path: t for path, t in leaves.items() if t.shape[0] == 1 and t.numel() > 1}
        if len(samples) < 3 or full is None or not few:
            return
        first, second = dict(_leaves(collate(samples[:1]))), dict(_leaves(collate(samples[1:2])))
        for path, tensor in few.items():
            if path not in first or path not in second:
                continue
            if _same(tensor, first[path]) and not _same(tensor, second[path]):
                times = self._suspect[place, path] = self._suspect.get((place, path), 0) + 1
                if times == 2:
                    function = _function(collate)
                    self.watch.facts.collated.append(Collated(
                        place=self.watch.defined_at(function) or place, samples=len(samples), where=path,
                        batches=times, function=getattr(collate, "__name__", type(collate).__name__),
                        shape=tuple(tensor.shape), other_shape=tuple(full.shape),
                    ))  # fmt: skip


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        if plain(value) and value.dim():
            yield path or "the batch", value
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from _leaves(item, f"{path}[{i}]")
    elif hasattr(value, "items"):
        for key, item in value.items():
            yield from _leaves(item, f"{path}[{key!r}]")


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and bool(torch.equal(a, b))


def _function(collate: Any) -> Any:
    """Return the function behind an object that can be called."""
    return collate if hasattr(collate, "__code__") else type(collate).__dict__.get("__call__")
