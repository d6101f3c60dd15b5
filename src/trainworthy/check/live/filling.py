"""``torch.nn.init``: which line filled which parameters, and whose numbers another line overwrote.

Looked at only where the guard is there from the program's first line, until the first step.
"""

from __future__ import annotations

import functools
import inspect
import numbers
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef

from trainworthy.check.finding import Place
from trainworthy.check.live.facts_setup import LostFill
from trainworthy.check.live.watch import Watch

_LOOK = "torch.nn.init"
_CONSTANT = frozenset({"constant_", "zeros_", "ones_"})
Memory = tuple[StorageWeakRef, int, int]  # storage, offset, number of elements


class Fill(NamedTuple):
    """One call of a function of ``torch.nn.init``.

    Attributes:
        line: Number of the user's line.
        what: The call, without the tensor: ``normal_(std=0.02)``.
        by: Number of the line of the outermost ``Module.apply`` around it; that of the line itself without one.
        special: Whether one does not fill a parameter so by habit.
    """

    line: int
    what: str
    by: int
    special: bool


class FillWatch:
    """Stands in for the functions of ``torch.nn.init``.

    Attributes:
        applied_at: Says on which line the ``Module.apply`` stands that is under way.
    """

    compiled_code_sees_it = True

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.applied_at: Callable[[], int | None] = lambda: None
        self._fills: dict[Memory, list[Fill]] = {}
        watch.filled_at = self.filled_at

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Replace the functions while the context is open."""
        with ExitStack() as stack:
            for name, function in list(vars(nn.init).items()):
                if name.endswith("_") and not name.startswith("_") and callable(function):
                    setattr(nn.init, name, self._heard(name, function))
                    stack.callback(setattr, nn.init, name, function)
            yield

    def _heard(self, name: str, function: Any) -> Any:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def heard(*args: Any, **kwargs: Any) -> Any:
            out = function(*args, **kwargs)
            if self.watch.looking and not self.watch.busy and self.watch.step == 0:
                frame = sys._getframe(1)
                if self.watch.finder.is_user(frame.f_code):  # layers of torch fill their own, which is no choice
                    with self.watch.own_work():
                        self.watch.attempt(_LOOK, self._note, frame, name, signature.bind(*args, **kwargs))
            return out

        return heard

    def _note(self, frame: FrameType, name: str, given: inspect.BoundArguments) -> None:
        tensor, *settings = _settings(given)
        if not isinstance(tensor, torch.Tensor) or tensor.device.type == "meta" or not tensor.numel():
            return
        line, _ = self.watch.finder.find(frame)
        by = self.applied_at()
        what = f"{name}({', '.join(map(str, settings))})"
        fill = Fill(line, what, line if by is None else by, _is_special(name, tensor, given))
        self._fills.setdefault(_memory(tensor), []).append(fill)

    def filled_at(self, parameter: torch.Tensor) -> Place | None:
        """Return the line that filled a parameter last."""
        fills = self._fills.get(_memory(parameter))
        return self.watch.place_of(fills[-1].line) if fills else None

    def finish(self) -> None:
        """Write down the lines of which no number was left."""
        histories = list(self._fills.values())
        self._fills = {}
        filled: dict[int, int] = {}  # by whom: how many parameters
        for history in histories:
            for by in {fill.by for fill in history}:
                filled[by] = filled.get(by, 0) + 1
        for line in dict.fromkeys(fill.line for history in histories for fill in history):
            of_line = [history for history in histories if any(fill.line == line for fill in history)]
            losses = [_loss(history, line) for history in of_line]
            lost = [one for one in losses if one is not None]
            if len(lost) < len(losses) or len({last.by for _, last in lost}) != 1:
                continue
            first, last = lost[0]
            if filled[last.by] > len(lost):
                self.watch.facts.lost_fills.append(LostFill(
                    place=self.watch.place_of(last.by), at=self.watch.place_of(line), count=len(lost),
                    what=first.what, by=last.what,
                ))  # fmt: skip


def _memory(tensor: torch.Tensor) -> Memory:
    return StorageWeakRef(tensor.untyped_storage()), int(tensor.storage_offset()), tensor.numel()


def _settings(given: inspect.BoundArguments) -> list[Any]:
    """Return the tensor, and the rest as it is written: ``std=0.02``; what is as by default is left out."""
    tensor, *rest = given.arguments.items()
    default = given.signature.parameters
    numbers_in = [(k, v) for k, v in rest if isinstance(v, (numbers.Number, str)) and v != default[k].default]
    return [tensor[1], *(f"{k}={v:.3g}" if isinstance(v, float) else f"{k}={v}" for k, v in numbers_in)]


def _is_special(name: str, tensor: torch.Tensor, given: inspect.BoundArguments) -> bool:
    """Tell constants that somebody thought about: weights of zero, biases of neither zero nor one."""
    if tensor.dim() >= 2:
        return name in _CONSTANT
    return name == "constant_" and given.arguments.get("val") not in (0, 1)


def _loss(history: list[Fill], line: int) -> tuple[Fill, Fill] | None:
    """Return what a line filled a parameter with, and the fill that took its place; None if it was not lost.

    It was lost if another line fills the parameter at last, with something else: one that had filled it before, too, so
    that what came between was an exception, or one that comes to whatever there is where a chosen constant was.
    """
    last = history[-1]
    index = max(i for i, fill in enumerate(history) if fill.line == line)
    own = history[index]
    if last.line == line or last.what == own.what or own.by != own.line:
        return None
    again = any((fill.line, fill.what) == (last.line, last.what) for fill in history[:index])
    return (own, last) if again or (own.special and not last.special) else None
