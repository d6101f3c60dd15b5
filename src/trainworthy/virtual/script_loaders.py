"""DataLoaders in a rehearsal: batches are loaded in this process, and only as many as are needed."""

from __future__ import annotations

import dis
import inspect
import sys
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader
from torch.utils.data import _utils as loader_utils
from torch.utils.data.dataloader import (
    _BaseDataLoaderIter,
    _DatasetKind,
    _SingleProcessDataLoaderIter,
)

from trainworthy.virtual.patching import Patches

if TYPE_CHECKING:
    from trainworthy.virtual.gpu import VirtualGpu
    from trainworthy.virtual.session import Session

EVALUATION_BATCHES = 2
# An outer loop that comes back this often to its loaders without training will not end by itself.
_MAX_IDLE_EPOCHS = 50


class _Pass:
    """One pass over a loader."""

    __slots__ = ("batches", "began_finishing", "forwards")

    def __init__(self, *, began_finishing: bool) -> None:
        self.batches = 0
        self.forwards = (0, 0)  # training and evaluation, when the last batch was given
        self.began_finishing = began_finishing


class LoaderCuts:
    """Shortens passes over DataLoaders as the stop rule says.

    A pass is cut where ``next`` is called, so ``len(loader)`` and every subclass stay as they are:

    - after N steps a pass that fed the training ends at its next batch;
    - a pass under ``no_grad`` ends after two batches; so does one whose batches are evaluated;
    - a pass that begins after N steps gives two batches (the training forward then ends the script).
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._passes: weakref.WeakKeyDictionary[Any, _Pass] = weakref.WeakKeyDictionary()
        self._loaders: weakref.WeakKeyDictionary[Any, tuple[Any, int]] = weakref.WeakKeyDictionary()  # and workers
        self._idle_passes = 0
        self._training_forwards = 0
        self._evaluation_forwards = 0

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Shorten passes while the context is open."""
        patches = Patches()
        reset, next_batch = _BaseDataLoaderIter._reset, _BaseDataLoaderIter.__next__
        get_iterator = DataLoader._get_iterator
        cuts = self

        def _reset(self: Any, *args: Any, **kwargs: Any) -> None:
            cuts._begin(self)
            reset(self, *args, **kwargs)

        def __next__(self: Any) -> Any:  # noqa: N807 - it replaces that method
            cuts._before_batch(self)
            return cuts._timed_batch(self, next_batch)

        def _get_iterator(self: Any) -> Any:
            return cuts._in_process(self, get_iterator)

        patches.set_all(_BaseDataLoaderIter, _reset=_reset, __next__=__next__)
        patches.set(DataLoader, "_get_iterator", _get_iterator)
        modules = self._session.gpu.recorder.modules
        modules.on_root_enter.append(self._root_entered)
        try:
            with patches.applied():
                yield
        finally:
            modules.on_root_enter.remove(self._root_entered)

    # --- where passes end -------------------------------------------------------------------------

    def _begin(self, iterator: Any) -> None:
        finishing = self._session.finishing
        self._passes[iterator] = _Pass(began_finishing=finishing)
        if finishing:
            self._idle_passes += 1
            if self._idle_passes > _MAX_IDLE_EPOCHS:
                self._session.complete()

    def _before_batch(self, iterator: Any) -> None:
        state = self._passes.get(iterator)
        if state is None:
            state = self._passes[iterator] = _Pass(began_finishing=self._session.finishing)
        evaluating = self._evaluates(state)
        if self._ends(state, evaluating) and not _is_fetched_by_hand(sys._getframe(2), self._session.gpu):
            if self._runs_in_full(evaluating):
                self._session.gpu.assume(_IN_FULL)
            else:
                self._session.gpu.assume(_CUT)
                raise StopIteration
        state.batches += 1
        state.forwards = (self._training_forwards, self._evaluation_forwards)

    def _timed_batch(self, iterator: Any, next_batch: Any) -> Any:
        """Load a batch; the time of those for the training is noted."""
        notes = self._session.gpu.step_notes
        if notes is None or iterator not in self._loaders or not torch.is_grad_enabled():
            return next_batch(iterator)
        began = time.perf_counter()
        batch = next_batch(iterator)
        seconds = time.perf_counter() - began
        loader, workers = self._loaders[iterator]
        finder = self._session.gpu.recorder.finder
        source = finder.sources[finder.find(sys._getframe(2))[0]]
        place = (source.path or None, source.line or None)
        notes.batch(loader, workers=workers, seconds=seconds, place=place, batch=batch)
        return batch

    def _runs_in_full(self, evaluating: bool) -> bool:
        """Tell whether an evaluation that could be cut here is not; remembers those that are."""
        if not evaluating or self._session.finishing:
            return False
        self._session.evaluation_was_cut |= not self._session.whole_evaluation
        return self._session.whole_evaluation

    def _evaluates(self, state: _Pass) -> bool:
        """Tell whether the pass feeds an evaluation: what was done with its last batch says so."""
        if not torch.is_grad_enabled():
            return True
        trained, evaluated = state.forwards
        return bool(state.batches and self._evaluation_forwards > evaluated and self._training_forwards == trained)

    def _ends(self, state: _Pass, evaluating: bool) -> bool:
        if evaluating and state.batches >= EVALUATION_BATCHES:
            return True
        if not self._session.finishing:
            return False
        if not state.began_finishing and not evaluating:
            return True
        return state.batches >= EVALUATION_BATCHES

    def _root_entered(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if torch.is_grad_enabled():
            self._training_forwards += 1
        elif not module.training:
            self.note_evaluation()

    def note_evaluation(self) -> None:
        """Count an evaluation forward pass."""
        self._evaluation_forwards += 1

    # --- workers ----------------------------------------------------------------------------------

    def _in_process(self, loader: Any, get_iterator: Any) -> Any:
        """Make the iterator of ``loader`` without worker processes."""
        workers, timeout = loader.num_workers, loader.timeout
        if workers == 0:
            iterator = get_iterator(loader)
            self._loaders[iterator] = (loader, 0)
            return iterator
        self._session.gpu.assume("DataLoader workers: batches are loaded in the process of the rehearsal")
        loader.num_workers = loader.timeout = 0
        try:
            iterator = get_iterator(loader)
        finally:
            loader.num_workers, loader.timeout = workers, timeout
        self._loaders[iterator] = (loader, workers)
        if isinstance(iterator, _SingleProcessDataLoaderIter):
            _act_as_worker(iterator, loader)
        return iterator


def _is_fetched_by_hand(frame: FrameType | None, gpu: VirtualGpu) -> bool:
    """Tell whether the user's code fetches batches with ``next()`` and counts on there being more.

    A loop simply ends when its loader does; ``next(batches)`` raises, unless the same code catches
    ``StopIteration``. Generators only pass batches on: who consumes them decides.
    """
    finder = gpu.recorder.finder
    while frame is not None:
        code = frame.f_code
        if not code.co_flags & inspect.CO_GENERATOR and finder.is_user(code):
            if "StopIteration" in code.co_names or not {"next", "__next__"} & set(code.co_names):
                return False
            return dis.opname[code.co_code[frame.f_lasti]] != "FOR_ITER"
        frame = frame.f_back
    return False


_CUT = "DataLoaders are cut short: training ends after the wanted steps, evaluation after two batches"
_IN_FULL = "an evaluation runs in full: with two batches of it, the script failed"


def _act_as_worker(iterator: Any, loader: Any) -> None:
    """Let the dataset see itself in worker 0 of 1, as ``get_worker_info`` promises in a worker."""
    info = loader_utils.worker.WorkerInfo(id=0, num_workers=1, seed=torch.initial_seed(), dataset=loader.dataset)
    next_data = iterator._next_data

    def in_worker() -> Any:
        before = loader_utils.worker._worker_info
        loader_utils.worker._worker_info = info
        try:
            return next_data()
        finally:
            loader_utils.worker._worker_info = before

    iterator._next_data = in_worker
    if loader.worker_init_fn is not None:
        before = loader_utils.worker._worker_info
        loader_utils.worker._worker_info = info
        try:
            loader.worker_init_fn(0)
        finally:
            loader_utils.worker._worker_info = before
    if iterator._dataset_kind == _DatasetKind.Iterable:
        # The fetcher called iter(dataset) before the worker was known.
        iterator._dataset_fetcher.dataset_iter = _LazyIterator(iterator._dataset_fetcher.dataset)


class _LazyIterator:
    """Calls ``iter(dataset)`` at the first batch, inside the worker."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self._iterator: Iterator[Any] | None = None

    def __iter__(self) -> _LazyIterator:
        return self

    def __next__(self) -> Any:
        if self._iterator is None:
            self._iterator = iter(self._dataset)
        return next(self._iterator)
