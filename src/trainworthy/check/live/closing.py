"""From the last step that is looked at to the next forward pass that would train: what evaluates meanwhile is seen.

===================================  ==========================================================
after N steps                        passes over DataLoaders that began before end at their next
                                     batch, so that a script reaches its evaluation
a pass that begins after them        gives a few batches
a model called in training mode,     the look is over
with gradients; a backward pass
===================================  ==========================================================

It is what a rehearsal does, too (``virtual/session.py``). Only ``check --live`` closes so, whose script ends with the
look; a guard in somebody's loop changes nothing in it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _BaseDataLoaderIter

from trainworthy.check.live.watch import Watch

EVALUATION_BATCHES = 4


class Closing:
    """Lets a script go on to its evaluation, and notices when it trains again.

    Attributes:
        began: Whether the steps are over.
        on_training: Called when the script trains again.
    """

    def __init__(self, watch: Watch, on_training: Callable[[], None]) -> None:
        self.watch = watch
        self.began = False
        self.on_training = on_training
        self._stack = ExitStack()
        self._given: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()

    def begin(self) -> None:
        """Shorten passes over loaders from now on."""
        self.began = True
        self._stack.enter_context(self._shortened())

    def end(self) -> None:
        """Put torch back."""
        self._stack.close()

    def before_root(self, module: nn.Module) -> None:
        """Take note of a model that is called; transforms are modules, too, and have nothing to train."""
        trains = self.began and module.training and torch.is_grad_enabled()
        if trains and any(p.requires_grad for p in module.parameters()):
            self.on_training()

    @contextmanager
    def _shortened(self) -> Iterator[None]:
        begin, give, given = DataLoader.__iter__, _BaseDataLoaderIter.__next__, self._given

        def counted_iter(loader: Any) -> Any:
            iterator = begin(loader)
            if isinstance(iterator, _BaseDataLoaderIter):
                given[iterator] = 0
            return iterator

        def counted_next(iterator: Any) -> Any:
            if given.get(iterator, EVALUATION_BATCHES) >= EVALUATION_BATCHES:
                raise StopIteration
            given[iterator] += 1
            return give(iterator)

        loaders: Any = DataLoader
        iterators: Any = _BaseDataLoaderIter
        loaders.__iter__, iterators.__next__ = counted_iter, counted_next
        try:
            yield
        finally:
            loaders.__iter__, iterators.__next__ = begin, give
