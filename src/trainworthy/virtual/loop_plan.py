"""How often the loops around a line will turn, read from the source and the values that its frames hold.

Only what is sure counts: ``for`` over ``range`` of known numbers or over a DataLoader, without a way out. Anything else
makes the plan unknown.
"""

from __future__ import annotations

import ast
import linecache
from collections.abc import Callable, Iterator
from functools import lru_cache
from types import CodeType, FrameType
from typing import Any, NamedTuple

from torch.utils.data import DataLoader

from trainworthy.virtual.script_step import run_steps

_PASS_ON = frozenset({"enumerate", "tqdm", "track", "list", "iter"})


class LoopPlan(NamedTuple):
    """``epochs`` is the product of all counted loops, ``batches`` the length of the loader that is looped over."""

    epochs: int
    batches: int | None


def plan_of(frame: FrameType | None, is_user: Callable[[CodeType], bool]) -> LoopPlan | None:
    """Return how often the loops around a running line turn in all; None if that is not sure."""
    epochs, batches = 1, None
    while frame is not None and frame.f_code is not run_steps.__code__:  # what rehearses a function is not its loop
        if is_user(frame.f_code):
            for loop in _loops_around(frame):
                length = _length(loop, frame)
                if length is None:
                    return None
                count, is_loader = length
                if is_loader and batches is not None:
                    return None
                batches = count if is_loader else batches
                epochs *= 1 if is_loader else count
        frame = frame.f_back
    return LoopPlan(epochs, batches)


@lru_cache(maxsize=64)
def _tree(filename: str) -> ast.Module | None:
    try:
        return ast.parse("".join(linecache.getlines(filename)))
    except (SyntaxError, ValueError):
        return None


def _loops_around(frame: FrameType) -> Iterator[ast.For | ast.While | ast.AsyncFor]:
    """Yield the loops of the frame's own function around its line, from the outside in."""
    tree, line = _tree(frame.f_code.co_filename), frame.f_lineno or 0
    if tree is None:
        return
    inside: list[ast.AST] = []
    _descend(tree, line, inside)
    functions = [i for i, node in enumerate(inside) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    for node in inside[functions[-1] + 1 if functions else 0 :]:
        if isinstance(node, (ast.For, ast.While, ast.AsyncFor)) and _in_body(node, line):
            yield node


def _descend(node: ast.AST, line: int, inside: list[ast.AST]) -> None:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.stmt, ast.excepthandler)) and child.lineno <= line <= (child.end_lineno or 0):
            inside.append(child)
            _descend(child, line, inside)
            return


def _in_body(loop: ast.For | ast.While | ast.AsyncFor, line: int) -> bool:
    return loop.body[0].lineno <= line <= (loop.body[-1].end_lineno or 0)


def _length(loop: ast.AST, frame: FrameType) -> tuple[int, bool] | None:
    """Return how often a loop turns, and whether it goes over a DataLoader."""
    if not isinstance(loop, ast.For) or any(_ways_out(loop.body, frame)):
        return None
    over: Any = loop.iter
    while isinstance(over, ast.Call) and _name(over.func) in _PASS_ON and over.args:
        over = over.args[0]
    if isinstance(over, ast.Call) and _name(over.func) in {"range", "trange"}:
        numbers = [_value(argument, frame) for argument in over.args]
        if not numbers or not all(type(n) is int for n in numbers) or (len(numbers) == 3 and not numbers[2]):
            return None
        return len(range(*numbers)), False
    value = _value(over, frame)
    if isinstance(value, DataLoader):
        try:
            return len(value), True
        except TypeError:
            return None
    return None


def _ways_out(body: list[ast.stmt], frame: FrameType, *, nested: bool = False) -> Iterator[ast.AST]:
    """Yield what leaves a loop early, unless a condition in front of it is known to be false."""
    for node in body:
        if isinstance(node, ast.Return) or (isinstance(node, ast.Break) and not nested):
            yield node
        elif isinstance(node, ast.If):
            if _value(node.test, frame) is not False:
                yield from _ways_out(node.body, frame, nested=nested)
            yield from _ways_out(node.orelse, frame, nested=nested)
        elif isinstance(node, (ast.For, ast.While, ast.AsyncFor)):
            yield from _ways_out(node.body, frame, nested=True)
            yield from _ways_out(node.orelse, frame, nested=nested)
        elif isinstance(node, (ast.With, ast.AsyncWith)):
            yield from _ways_out(node.body, frame, nested=nested)
        elif isinstance(node, ast.Try):
            for part in (node.body, node.orelse, node.finalbody, *(h.body for h in node.handlers)):
                yield from _ways_out(part, frame, nested=nested)


_UNKNOWN = object()


def _value(node: ast.AST, frame: FrameType) -> Any:
    """Look up a name or plain attribute, or do sums of integers; nothing of the script's runs."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return frame.f_locals.get(node.id, frame.f_globals.get(node.id, _UNKNOWN))
    if isinstance(node, ast.Attribute):
        held = getattr(_value(node.value, frame), "__dict__", None)
        return held.get(node.attr, _UNKNOWN) if isinstance(held, dict) else _UNKNOWN
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub, ast.Mult, ast.FloorDiv)):
        left, right = _value(node.left, frame), _value(node.right, frame)
        if type(left) is int and type(right) is int:
            return _computed(node.op, left, right)
    return _UNKNOWN


def _computed(operator: ast.operator, left: int, right: int) -> Any:
    if isinstance(operator, ast.Add):
        return left + right
    if isinstance(operator, ast.Sub):
        return left - right
    if isinstance(operator, ast.Mult):
        return left * right
    return left // right if right else _UNKNOWN


def _name(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
