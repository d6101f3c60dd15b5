"""What batches look like where they enter a training, and the same training with smaller ones.

A batch enters from a DataLoader or, where there is none, as real tensors that move to the GPU in every step. With
``resize`` it enters smaller: a loader asks for fewer samples, as it does for a last, incomplete batch, and named
dimensions are cut to a shorter length.

=============  ====================================================================================
``resize``
=============  ====================================================================================
``samples``    ``[from, to]``: how many a loader's batch has, and how many it is to have
``crops``      of a loader: ``[tensor, dimension, from, to]``, by number within the batch
``moved``      of tensors that move to the GPU: ``[line, shape, dimension, to]``
=============  ====================================================================================
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data.dataloader import _BaseDataLoaderIter, _SingleProcessDataLoaderIter

from trainworthy.virtual.nested import tensors_of, with_tensors
from trainworthy.virtual.patch_tensor import Crossing
from trainworthy.virtual.patching import Patches
from trainworthy.virtual.step_notes import batching_of

if TYPE_CHECKING:
    from trainworthy.virtual.gpu import VirtualGpu

_MAX_MOVES = 64


class BatchNotes:
    """Notes the first batch of the loader that feeds the training, and what moves to the GPU in steps."""

    def __init__(self, gpu: VirtualGpu, resize: dict[str, Any] | None) -> None:
        self._gpu = gpu
        self._resize = resize or {}
        self.loader: Any = None
        self._loaders: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()  # by iterator
        self._num_samples: int | None = None
        self._tensors: list[list[Any]] = []
        self._moves: dict[tuple[str, tuple[int, ...]], list[int]] = {}
        self.batches = 0  # of the training loader, as long as gradients are on
        self._batches_in_steps = 0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Look at batches, and resize them, while the context is open."""
        next_index: Any = _BaseDataLoaderIter._next_index
        next_data: Any = _SingleProcessDataLoaderIter._next_data
        init: Any = _BaseDataLoaderIter.__init__
        notes = self

        def __init__(self: Any, loader: Any) -> None:  # noqa: N807 - it replaces that method
            notes._loaders[self] = loader
            init(self, loader)

        def _next_index(self: Any) -> Any:
            return notes._samples(next_index(self))

        def _next_data(self: Any) -> Any:
            return notes._batch(self, next_data(self))

        patches = Patches()
        patches.set_all(_BaseDataLoaderIter, __init__=__init__, _next_index=_next_index)
        patches.set(_SingleProcessDataLoaderIter, "_next_data", _next_data)
        before, Crossing.follow = Crossing.follow, self._moved
        on_step_end = self._gpu.recorder.steps.on_step_end
        on_step_end.append(self._step_ends)
        try:
            with patches.applied():
                yield
        finally:
            Crossing.follow = before
            on_step_end.remove(self._step_ends)

    def notes(self) -> dict[str, Any]:
        """Return what was seen: of the loader, and of moves that happened in two steps or more."""
        steps = self._gpu.recorder.steps.completed
        moves = [
            {"line": line, "shape": list(shape), "steps": sorted(set(seen))}
            for (line, shape), seen in self._moves.items()
        ]
        return {
            "samples": self._num_samples, "tensors": self._tensors, "moves": moves,
            "last_samples": self._last_samples(),
            "batches_per_epoch": _length(self.loader),
            "batches_per_step": self._batches_in_steps / steps if steps else None,
        }  # fmt: skip

    # --- from a loader ----------------------------------------------------------------------------

    def _samples(self, indices: Any) -> Any:
        """Take as many of the next batch's samples as are wanted."""
        if not isinstance(indices, (list, tuple)):
            return indices
        if self._num_samples is None and torch.is_grad_enabled():
            self._num_samples = len(indices)
        wanted = self._resize.get("samples")
        return indices[: wanted[1]] if wanted and len(indices) == wanted[0] else indices

    def _batch(self, iterator: Any, batch: Any) -> Any:
        if not torch.is_grad_enabled():
            return batch
        if self.loader is None:
            self.loader = self._loaders.get(iterator)
            self._tensors = [[_dtype(t), list(t.shape)] for t in tensors_of(batch)]
        self.batches += 1
        crops = self._resize.get("crops")
        return _cropped(batch, crops) if crops else batch

    def _last_samples(self) -> int | None:
        """Return how many samples the last batch of an epoch has, if it has fewer than the others."""
        size, drop_last, count = batching_of(self.loader)
        if getattr(self.loader, "batch_size", None) is not None:
            count = _length(getattr(self.loader, "sampler", None))
        if size is None or size != self._num_samples or count is None or drop_last:
            return None
        return count % size or None

    def _step_ends(self, step: int) -> None:
        self._batches_in_steps = self.batches

    # --- from the host ----------------------------------------------------------------------------

    def _moved(self, tensor: torch.Tensor) -> torch.Tensor:
        """Follow a real tensor that moves to the GPU; returns it, or what is left of it."""
        recorder = self._gpu.recorder
        if recorder.modules.stack or not tensor.dim() or tensor.requires_grad or self.loader is not None:
            return tensor
        number, _ = recorder.finder.find(sys._getframe(2))
        key = (str(recorder.finder.sources[number]), tuple(tensor.shape))
        if key in self._moves or len(self._moves) < _MAX_MOVES:
            self._moves.setdefault(key, []).append(recorder.steps.current)
        for line, shape, dim, size in self._resize.get("moved") or ():
            if (line, tuple(shape)) == key:
                tensor = tensor.narrow(dim, 0, size)
        return tensor


def _cropped(batch: Any, crops: list[list[int]]) -> Any:
    count = -1

    def crop(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal count
        count += 1
        for which, dim, before, after in crops:
            if which == count and dim < tensor.dim() and tensor.shape[dim] == before:
                tensor = tensor.narrow(dim, 0, after)
        return tensor

    return with_tensors(batch, crop)


def _dtype(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _length(value: Any) -> int | None:
    try:
        return len(value)
    except Exception:  # an iterable data set has no length, or a wrong one
        return None
