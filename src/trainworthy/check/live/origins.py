"""Where things came about: the lines that make modules, optimizers, loaders; cast weights, set modes, clear gradients.

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
from torch.utils.data import DataLoader

from trainworthy.check.finding import Place
from trainworthy.check.live.watch import Watch
from trainworthy.tape.source import maker

_LOOK = "origins"
Line = tuple[int, int]  # its number, and how many backward passes came before


class _Lines:
    """Lines by the identity of what they made: modules may define a hash of their own, by state that they lack yet."""

    def __init__(self) -> None:
        self._lines: dict[int, tuple[weakref.ref[Any], Line]] = {}

    def put(self, thing: Any, line: Line) -> None:
        self._lines[id(thing)] = (weakref.ref(thing), line)

    def get(self, thing: Any) -> Line | None:
        ref, line = self._lines.get(id(thing), (None, (0, 0)))
        return line if thing is not None and ref is not None and ref() is thing else None


class OriginWatch:
    """Stands in for the methods through which things come about."""

    compiled_code_sees_it = False

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self._made, self._modes, self._cast = _Lines(), _Lines(), _Lines()
        self._cleared: Line | None = None
        self._setting: Line | None = None  # the outermost call of ``train`` that is under way
        watch.made_at, watch.cast_at = self.made_at, self.cast_at
        watch.mode_set_at, watch.cleared_at = self.mode_set_at, self.cleared_at

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Replace the methods while the context is open."""
        seams: list[tuple[Any, str, Callable[..., Any]]] = [
            (nn.Module, "__init__", self._making), (Optimizer, "__init__", self._making),
            (DataLoader, "__init__", self._making),
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
        self._made.put(thing, self._line(frame, thing, ("__init__",)))

    def _setting_modes(self, train: Callable[..., Any]) -> Callable[..., Any]:
        def set_mode(module: Any, *args: Any, **kwargs: Any) -> Any:
            outermost = self._setting is None
            if outermost and self.watch.looking and not self.watch.busy:
                self._setting = self.watch.attempt(_LOOK, self._line, sys._getframe(1), module, ("train", "eval"))
            try:
                if self._setting is not None:
                    self.watch.attempt(_LOOK, self._modes.put, module, self._setting)
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
            self._cast.put(part, line)

    def _clearing(self, clear: Callable[..., Any]) -> Callable[..., Any]:
        def cleared(thing: Any, *args: Any, **kwargs: Any) -> Any:
            out = clear(thing, *args, **kwargs)
            if self.watch.looking and not self.watch.busy:
                self._cleared = self.watch.attempt(_LOOK, self._line, sys._getframe(1), thing, ("zero_grad",))
            return out

        return cleared

    def _line(self, frame: FrameType | None, thing: Any, methods: tuple[str, ...]) -> Line:
        """Return the user's line that led to a method, outside of the methods of that name that call it."""
        number, _ = self.watch.finder.find(maker(frame, thing, methods))
        return number, len(self.watch.facts.backwards)

    def made_at(self, thing: Any) -> Place | None:
        """Return where a module, an optimizer or a loader was made."""
        line = self._made.get(thing)
        return self.watch.place_of(line[0]) if line is not None else None

    def cast_at(self, module: Any) -> Place | None:
        """Return where the weights of a module were cast to another type."""
        line = self._cast.get(module)
        return self.watch.place_of(line[0]) if line is not None else None

    def mode_set_at(self, module: Any) -> tuple[Place, bool] | None:
        """Return where a module's mode was set last, and whether no backward pass came after it."""
        line = self._modes.get(module)
        return (self.watch.place_of(line[0]), line[1] == len(self.watch.facts.backwards)) if line is not None else None

    def cleared_at(self) -> Place | None:
        """Return where gradients were cleared since the last backward pass."""
        recent = self._cleared is not None and self._cleared[1] == len(self.watch.facts.backwards)
        return self.watch.place_of(self._cleared[0]) if self._cleared is not None and recent else None
