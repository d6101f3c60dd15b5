"""Tensors that a function of the user's is given, changes in place, and does not return: who goes on using them?

A write is looked at where it happens: does the line's function hold the tensor as an argument, does a frame above it
hold it too, and does the function return something, but not this? Then the next call of a torch function that gets the
tensor, once the function has been left, is the use of a value that its caller does not know to be another.
"""

from __future__ import annotations

import ast
import linecache
import re
import weakref
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

import torch
from torch import nn

from trainworthy.check.finding import Place
from trainworthy.check.live.facts_seldom import ChangedArgument
from trainworthy.check.live.watch import Watch

_STEPS, _MAX = 2, 20
_FRAMES, _ITEMS, _MAX_PENDING = 12, 64, 8
_AGAIN = frozenset("__imul__ __iadd__ __isub__ __itruediv__ mul_ add_ sub_ div_ neg_".split())
_SAYS_SO = re.compile(
    r"_$|in_?place|^_?(set|update|fill|init|register|add|build|make|load|apply_|write|append|patch|reset|push|store|"
    r"record|scatter|insert|accumulate)"
)
_MEANT = re.compile(
    r"cache|state|mem|buf|queue|bank|hist|out|result|hidden|^h_?\d*$|hx|kv|accum|total|count|canvas|stat|store|pool|grad|"
    r"param|weight|ema|avg|^self$"
)


@dataclass(slots=True)
class _Change:
    tensor: weakref.ref[torch.Tensor]
    code: CodeType
    place: Place
    argument: str
    called_from: tuple[tuple[CodeType, int], ...]
    left: bool = False  # an operation came from elsewhere since


class ArgumentWatch:
    """Follows such tensors in the first steps."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.is_on = True
        self._writes: dict[Any, bool] = {}
        self._pending: dict[int, _Change] = {}
        self._returns: dict[CodeType, frozenset[str] | None] = {}

    def called(self, func: Any, args: tuple[Any, ...], frame: FrameType) -> None:
        """Look at a call of a torch function that the user's code made."""
        for change in self._pending.values():
            change.left = change.left or _called_from(change.code, frame) != change.called_from
        writes = self._writes.get(func)
        if writes is None:
            writes = self._writes[func] = _is_write(getattr(func, "__name__", ""))
        if writes and args:
            self._written(func.__name__, args[0], frame)
        elif self._pending:
            self._read(args, frame)

    def step_ends(self) -> None:
        """Stop after a few steps."""
        self.is_on = self.watch.step + 1 < _STEPS
        if not self.is_on:
            self._pending.clear()

    def _written(self, name: str, tensor: Any, frame: FrameType) -> None:
        code = frame.f_code
        if not isinstance(tensor, torch.Tensor) or isinstance(tensor, nn.Parameter):
            return
        known = self._pending.get(id(tensor)) or self._pending.get(id(tensor._base))
        if known is not None:
            if known.code is not code:  # somebody else writes: it is a buffer
                self._pending.pop(id(known.tensor()), None)
            elif known.left and name in _AGAIN:
                self._note(known, known.place, again=True)
            return
        argument = _argument(frame, tensor) if self.watch.finder.is_user(code) else None
        if argument is None or _SAYS_SO.search(code.co_name) or _MEANT.search(argument[0].lower()):
            return
        name, whole = argument
        returned = self._returned(code)
        called_from = _called_from(code, frame)
        if returned is None or name in returned or called_from is None or len(self._pending) >= _MAX_PENDING:
            return
        if _is_held_above(frame, whole):
            self._pending[id(whole)] = _Change(weakref.ref(whole), code, self.watch.place(), name, called_from)

    def _read(self, args: tuple[Any, ...], frame: FrameType) -> None:
        for value in args:
            for each in value if isinstance(value, (list, tuple)) else (value,):
                change = self._pending.get(id(each))
                if change is not None and change.left and change.tensor() is each:
                    self._note(change, self.watch.place(), again=False)

    def _note(self, change: _Change, used: Place, *, again: bool) -> None:
        self._pending.pop(id(change.tensor()), None)
        found = self.watch.facts.changed_arguments
        if len(found) < _MAX and all(one.place != change.place for one in found):
            found.append(ChangedArgument(
                place=change.place, argument=change.argument, function=change.code.co_name, used=used, again=again,
            ))  # fmt: skip

    def _returned(self, code: CodeType) -> frozenset[str] | None:
        if code not in self._returns:
            self._returns[code] = _names_returned(code)
        return self._returns[code]


def _is_write(name: str) -> bool:
    in_place = name.endswith("_") and not name.endswith("__") and name not in ("requires_grad_", "share_memory_")
    return (
        in_place
        or name == "__setitem__"
        or re.fullmatch(r"__i(add|sub|mul|truediv|pow|and|or|xor)__", name) is not None
    )


def _argument(frame: FrameType, tensor: torch.Tensor) -> tuple[str, torch.Tensor] | None:
    """Return the name under which a function was given a tensor, or the tensor that it is a view of."""
    code, values = frame.f_code, frame.f_locals
    for name in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]:
        value = values.get(name)
        if isinstance(value, torch.Tensor) and (value is tensor or value is tensor._base):
            return name, value
    return None


def _is_held_above(frame: FrameType, tensor: torch.Tensor) -> bool:
    above, left = frame.f_back, _FRAMES
    while above is not None and left:
        for value in list(above.f_locals.values()):
            inner = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
            if value is tensor or (len(inner) <= _ITEMS and any(each is tensor for each in inner)):
                return True
        above, left = above.f_back, left - 1
    return False


def _called_from(code: CodeType, frame: FrameType | None) -> tuple[tuple[CodeType, int], ...] | None:
    """Return the calls that led to the innermost call of a function; None if it does not run."""
    while frame is not None and frame.f_code is not code:
        frame = frame.f_back
    if frame is None:
        return None
    calls: list[tuple[CodeType, int]] = []
    above = frame.f_back
    while above is not None and len(calls) < _FRAMES:
        calls.append((above.f_code, above.f_lasti))
        above = above.f_back
    return tuple(calls)


def _names_returned(code: CodeType) -> frozenset[str] | None:
    """Return the names that a function returns as they are; None if it returns nothing, or cannot be read."""
    try:
        tree = ast.parse("".join(linecache.getlines(code.co_filename)))
    except (SyntaxError, ValueError):
        return None
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and _begins(node) == code.co_firstlineno:
            values = [one.value for one in ast.walk(node) if isinstance(one, ast.Return) and one.value is not None]
            values = [one for one in values if not (isinstance(one, ast.Constant) and one.value is None)]
            return frozenset(name for one in values for name in _plain_names(one)) if values else None
    return None


def _begins(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return min([function.lineno, *(one.lineno for one in function.decorator_list)])


def _plain_names(value: ast.expr) -> list[str]:
    if isinstance(value, ast.Name):
        return [value.id]
    if isinstance(value, (ast.Tuple, ast.List)):
        return [name for one in value.elts for name in _plain_names(one)]
    if isinstance(value, ast.Dict):
        return [name for one in value.values for name in _plain_names(one)]
    if isinstance(value, ast.IfExp):
        return [*_plain_names(value.body), *_plain_names(value.orelse)]
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):  # ``x.view(-1)`` shows the same memory
        return _plain_names(value.func.value)
    return _plain_names(value.value) if isinstance(value, (ast.Subscript, ast.Starred)) else []
