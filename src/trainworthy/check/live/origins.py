"""Where things came about: the lines that make modules and optimizers, cast weights, set modes, clear gradients.

What goes wrong shows where a model is called or an optimizer steps, and is often done elsewhere. What was there before
the look began has no origin.
"""

from __future__ import annotations

import functools
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from trainworthy.check.finding import Place
from trainworthy.check.live.watch import Watch

_LOOK = "origins"
_Lines = weakref.WeakKeyDictionary[Any, tuple[int, int]]  # number of the line, backward passes so far


class OriginWatch:
    """Stands in for the methods through which things come about."""

    compiled_code_sees_it = False

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self._made: _Lines = weakref.WeakKeyDictionary()
        self._modes: _Lines = weakref.WeakKeyDictionary()
        self._cast: _Lines = weakref.WeakKeyDictionary()
        self._cleared: tuple[int, int] | None = None
        self._setting: tuple[int, int] | None = None  # the outermost call of ``train`` that is under way
        watch.made_at, watch.cast_at = self.made_at, self.cast_at
        watch.mode_set_at, watch.cleared_at = self.mode_set_at, self.cleared_at

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Replace the methods while the context is open."""
        seams: list[tuple[Any, str, Callable[..., Any]]] = [
            (nn.Module, "__init__", self._making), (Optimizer, "__init__", self._making),
            (nn.Module, "train", self._setting_modes), (Optimizer, "zero_grad", self._clearing),
            (nn.Module, "zero_grad", self._clearing), (nn.Module, "to", self._casting),
            (nn.Module, "half", self._casting), (nn.Module, "bfloat16", self._casting),
        ]  # fmt: skip
        with ExitStack() as stack:
            for kind, name, stand_in in seams:
                method = getattr(kind, name)
                setattr(kind, name, functools.wraps(method)(stand_in(method)))
                stack.callback(setattr, kind, name, method)
            yield

    def _making(self, make: Callable[..., None]) -> Callable[..., None]:
        def made(thing: Any, *args: Any, **kwargs: Any) -> None:
            make(thing, *args, **kwargs)
            if self.watch.looking and not self.watch.busy:
                self.watch.attempt(_LOOK, self._note_made, thing, sys._getframe(1))

        return made

    def _note_made(self, thing: Any, frame: FrameType) -> None:
        self._made[thing] = self._line(frame, thing, ("__init__",))

    def _setting_modes(self, train: Callable[..., Any]) -> Callable[..., Any]:
        def set_mode(module: Any, *args: Any, **kwargs: Any) -> Any:
            outermost = self._setting is None
            if outermost and self.watch.looking and not self.watch.busy:
                self._setting = self.watch.attempt(_LOOK, self._line, sys._getframe(1), module, ("train", "eval"))
            try:
                if self._setting is not None:
                    self.watch.attempt(_LOOK, self._modes.__setitem__, module, self._setting)
                return train(module, *args, **kwargs)
            finally:
                if outermost:
                    self._setting = None

        return set_mode

    def _casting(self, cast: Callable[..., Any]) -> Callable[..., Any]:
        def casts(module: Any, *args: Any, **kwargs: Any) -> Any:
            out = cast(module, *args, **kwargs)
            names_type = any(isinstance(one, torch.dtype) for one in (*args, *kwargs.values()))
            if self.watch.looking and not self.watch.busy and (names_type or cast.__name__ != "to"):
                self.watch.attempt(_LOOK, self._note_cast, module, sys._getframe(1))
            return out

        return casts

    def _note_cast(self, module: nn.Module, frame: FrameType) -> None:
        line = self._line(frame, module, ("to", "half", "bfloat16"))
        for part in module.modules():
            self._cast[part] = line

    def _clearing(self, clear: Callable[..., Any]) -> Callable[..., Any]:
        def cleared(thing: Any, *args: Any, **kwargs: Any) -> Any:
            out = clear(thing, *args, **kwargs)
            if self.watch.looking and not self.watch.busy:
                self._cleared = self.watch.attempt(_LOOK, self._line, sys._getframe(1), thing, ("zero_grad",))
            return out

        return cleared

    def _line(self, frame: FrameType | None, thing: Any, methods: tuple[str, ...]) -> tuple[int, int]:
        """Return the user's line that led to a method, outside of the methods of that name that call it."""
        while frame is not None and frame.f_code.co_name in methods and _first(frame) is thing:
            frame = frame.f_back
        number, _ = self.watch.finder.find(frame)
        return number, len(self.watch.facts.backwards)

    def made_at(self, thing: Any) -> Place | None:
        """Return where a module or an optimizer was made."""
        line = _known(self._made, thing)
        return self.watch.place_of(line[0]) if line is not None else None

    def cast_at(self, module: Any) -> Place | None:
        """Return where the weights of a module were cast to another type."""
        line = _known(self._cast, module)
        return self.watch.place_of(line[0]) if line is not None else None

    def mode_set_at(self, module: Any) -> tuple[Place, bool] | None:
        """Return where a module's mode was set last, and whether no backward pass came after it."""
        line = _known(self._modes, module)
        return (self.watch.place_of(line[0]), line[1] == len(self.watch.facts.backwards)) if line is not None else None

    def cleared_at(self) -> Place | None:
        """Return where gradients were cleared since the last backward pass."""
        recent = self._cleared is not None and self._cleared[1] == len(self.watch.facts.backwards)
        return self.watch.place_of(self._cleared[0]) if self._cleared is not None and recent else None


def _known(lines: _Lines, thing: Any) -> tuple[int, int] | None:
    """Look a thing up; None, and what cannot be a key, has no origin."""
    try:
        return lines.get(thing)
    except TypeError:
        return None


def _first(frame: FrameType) -> Any:
    """Return the first argument of a function that runs."""
    names = frame.f_code.co_varnames
    return frame.f_locals.get(names[0]) if frame.f_code.co_argcount and names else None
