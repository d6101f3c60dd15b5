"""What happens while samples are made in this process: images that are enlarged, draws of a sampler.

A loader's work goes on out of sight of ``OperatorWatch``, whose looks are for models. Here only a few functions are of
interest, and only in the first batches: what a data set does to one sample it does to all.
"""

from __future__ import annotations

import functools
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils.data import DistributedSampler, WeightedRandomSampler

from trainworthy.check.finding import Place
from trainworthy.check.live.facts_seldom import Draw, Upscaled
from trainworthy.check.live.operators import OperatorWatch
from trainworthy.check.live.watch import Watch

_BATCHES = 3
_MAX_NOTED = 100
_RESIZES = ("interpolate", "upsample")


class Loading:
    """Looks at the work of loaders without workers."""

    def __init__(self, watch: Watch, operators: OperatorWatch) -> None:
        self.watch = watch
        self.operators = operators
        self._seen: dict[int, int] = {}

    def of(self, iterator: Any) -> AbstractContextManager[Any]:
        """Return a context for the next batch of an iterator."""
        seen = self._seen.get(id(iterator), 0)
        if not self.watch.looking or seen >= _BATCHES or getattr(iterator, "_num_workers", None) != 0:
            return nullcontext()
        self._seen[id(iterator)] = seen + 1
        return self._looking()

    @contextmanager
    def _looking(self) -> Iterator[None]:
        image = getattr(sys.modules.get("PIL.Image"), "Image", None)
        resize = vars(image).get("resize") if image is not None else None
        if image is not None and resize is not None:
            image.resize = self._heard(resize)
        try:
            with _Calls(self._called):
                yield
        finally:
            if image is not None and resize is not None:
                image.resize = resize

    def _called(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        if name in _RESIZES and args:
            number, _ = self.watch.finder.find(sys._getframe(1))
            self.watch.attempt("sizes of images", self.operators.note_resize, args[0], out, number)

    def _heard(self, resize: Callable[..., Any]) -> Callable[..., Any]:
        def heard(image: Any, *args: Any, **kwargs: Any) -> Any:
            out = resize(image, *args, **kwargs)
            self.watch.attempt("sizes of images", self._resized, image, out, kwargs.get("box", args[2:3] or None))
            return out

        return heard

    def _resized(self, image: Any, out: Any, part: Any) -> None:
        upscaled = self.watch.facts.upscaled
        before, after = (1, 1, image.height, image.width), (1, 1, out.height, out.width)
        if (
            part is None
            and len(upscaled) < _MAX_NOTED
            and all(n > 4 * m for m, n in zip(before[2:], after[2:], strict=True))
        ):
            upscaled.append(Upscaled(step=self.watch.step, place=self.watch.place(), before=before, after=after))


class _Calls(TorchFunctionMode):
    """Tells of the calls of some torch functions."""

    def __init__(self, called: Callable[..., None]) -> None:
        super().__init__()
        self.called = called

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name in _RESIZES:
            self.called(name, args, kwargs or {}, out)
        return out


class SamplerWatch:
    """Looks at samplers when they are made: who made them, and whether one draws more than there is."""

    compiled_code_sees_it = False

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.places: weakref.WeakKeyDictionary[Any, Place] = weakref.WeakKeyDictionary()

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Replace the ``__init__`` of two of torch's samplers while the context is open."""
        with ExitStack() as stack:
            kinds: tuple[Any, ...] = (WeightedRandomSampler, DistributedSampler)
            for kind in kinds:
                make = kind.__init__
                kind.__init__ = self._made(make)
                stack.callback(setattr, kind, "__init__", make)
            yield

    def _made(self, make: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(make)
        def made(sampler: Any, *args: Any, **kwargs: Any) -> None:
            make(sampler, *args, **kwargs)
            if self.watch.looking:
                self.watch.attempt("samplers", self._note, sampler)

        return made

    def _note(self, sampler: Any) -> None:
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
