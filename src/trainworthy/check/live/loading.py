"""What happens while samples are made in this process: images that are enlarged.

A loader's work goes on out of sight of ``OperatorWatch``, whose looks are for models. Here only a few functions are of
interest, and only in the first batches: what a data set does to one sample it does to all.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from torch.overrides import TorchFunctionMode

from trainworthy.check.live.facts_seldom import Upscaled
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
