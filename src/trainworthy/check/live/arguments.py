"""Tensors that a function of the user's is given, changes in place, and does not return: who goes on using them?

A write is looked at where it happens, in the source: is what the statement writes into an argument of the function that
was not bound anew, and does the function return something, but not this? Then the next call of a torch function that
gets the tensor, once the function has been left, is the use of a value that its caller does not know to be another.
The values of frames are not asked for: before Python 3.13 a frame that was asked keeps them.
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
_FRAMES, _MAX_PENDING = 12, 8
_AGAIN = frozenset("__imul__ __iadd__ __isub__ __itruediv__ mul_ add_ sub_ div_ neg_".split())
_SAYS_SO = re.compile(
    r"_$|in_?place|^_?(set|update|fill|init|register|add|build|make|load|apply_|write|append|patch|reset|push|store|"
    r"record|scatter|insert|accumulate)"
)
_MEANT = re.compile(
    r"cache|state|mem|buf|queue|bank|hist|out|result|hidden|^h_?\d*$|hx|kv|accum|total|count|canvas|stat|store|pool|grad|"
    r"param|weight|ema|avg|^self$"
)
# What comes of these is, or may be, the same memory.
_SHOW = frozenset(
    "view view_as reshape flatten squeeze unsqueeze transpose permute movedim expand contiguous detach t to type_as "
    "float half double long int bool cpu cuda".split()
)
_Def = ast.FunctionDef | ast.AsyncFunctionDef


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
        self._functions: dict[CodeType, _Function | None] = {}

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
        self._pending = {key: one for key, one in self._pending.items() if one.tensor() is not None}
        known = self._pending.get(id(tensor)) or self._pending.get(id(tensor._base))
        if known is not None:
            if known.code is not code:  # somebody else writes: it is a buffer
                self._pending.pop(id(known.tensor()), None)
            elif known.left and name in _AGAIN:
                self._note(known, known.place, again=True)
            return
        function = self._function(code) if self.watch.finder.is_user(code) else None
        written = function.written(frame.f_lineno) if function is not None else None
        called_from = _called_from(code, frame)
        if written is None or called_from is None or len(self._pending) >= _MAX_PENDING:
            return
        argument, is_whole = written
        whole = tensor if is_whole or name == "__setitem__" or tensor._base is None else tensor._base
        self._pending[id(whole)] = _Change(weakref.ref(whole), code, self.watch.place(), argument, called_from)

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

    def _function(self, code: CodeType) -> _Function | None:
        if code not in self._functions:
            self._functions[code] = None if _SAYS_SO.search(code.co_name) else _function_of(code)
        return self._functions[code]


class _Function:
    """A function of the user's that returns something: its arguments, and where they are bound anew."""

    def __init__(self, node: _Def, returned: frozenset[str]) -> None:
        self.node = node
        every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        names = {one.arg for one in every if not _MEANT.search(one.arg.lower())} - returned
        stores = [one for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)]
        augmented = {one.target for one in ast.walk(node) if isinstance(one, ast.AugAssign)}
        bound = [(one.id, one.lineno) for one in stores if one not in augmented]
        self.first_bound = {name: min((line for n, line in bound if n == name), default=None) for name in names}

    def written(self, line: int) -> tuple[str, bool] | None:
        """Return the argument into which the statement at a line writes, and whether into all of it."""
        for one in ast.walk(self.node):
            if isinstance(one, ast.stmt) and one.lineno <= line <= (one.end_lineno or one.lineno):
                target = _target(one)
                name = _root(target) if target is not None else ""
                if name in self.first_bound:
                    bound = self.first_bound[name]
                    return None if bound is not None and bound < line else (name, isinstance(target, ast.Name))
        return None


def _is_write(name: str) -> bool:
    in_place = name.endswith("_") and not name.endswith("__") and name not in ("requires_grad_", "share_memory_")
    return (
        in_place
        or name == "__setitem__"
        or re.fullmatch(r"__i(add|sub|mul|truediv|pow|and|or|xor)__", name) is not None
    )


def _target(statement: ast.stmt) -> ast.expr | None:
    """Return what a statement writes into: ``x`` of ``x[i] = 0``, ``x *= 2`` and ``x.mul_(2)``."""
    if isinstance(statement, ast.Assign):
        target = statement.targets[0]
        if isinstance(target, ast.Subscript):
            return target
        statement_value: ast.expr = statement.value
    elif isinstance(statement, ast.AugAssign):
        return statement.target
    elif isinstance(statement, ast.Expr):
        statement_value = statement.value
    else:
        return None
    calls = (one for one in ast.walk(statement_value) if isinstance(one, ast.Call))
    return next((c.func.value for c in calls if isinstance(c.func, ast.Attribute) and _is_write(c.func.attr)), None)


def _root(node: ast.expr) -> str:
    while isinstance(node, (ast.Subscript, ast.Attribute)):
        if isinstance(node, ast.Attribute) and node.attr != "data":
            return ""
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


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


def _function_of(code: CodeType) -> _Function | None:
    """Read a function; None if it returns nothing, or cannot be read."""
    try:
        tree = ast.parse("".join(linecache.getlines(code.co_filename)))
    except (SyntaxError, ValueError):
        return None
    for node in ast.walk(tree):
        if isinstance(node, _Def) and _begins(node) == code.co_firstlineno:
            values = [one.value for one in ast.walk(node) if isinstance(one, ast.Return) and one.value is not None]
            values = [one for one in values if not (isinstance(one, ast.Constant) and one.value is None)]
            return _Function(node, frozenset(name for one in values for name in _plain_names(one))) if values else None
    return None


def _begins(function: _Def) -> int:
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
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
        return _plain_names(value.func.value) if value.func.attr in _SHOW or _is_write(value.func.attr) else []
    return _plain_names(value.value) if isinstance(value, (ast.Subscript, ast.Starred)) else []
