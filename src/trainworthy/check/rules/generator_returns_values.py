"""A generator function returns its values, and nobody gets them.

What it finds:
    A function with `yield` that also has `return iter(...)`, `return [...]`, `return self._batches()` or another value.

Why:
    One `yield` makes the whole function a generator, whichever branch runs. What it returns ends in the exception that
    stops the iteration: a loop over it takes no turn at all, and an epoch of no batches fails nowhere.

How sure:
    Certain that a `for` over the function does not see the value. Silent where the project asks for it: with
    `yield from` in an expression, or `StopIteration` and its `value`; and about decorated functions, about constants,
    and about an empty value, which is what a loop gets anyway.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Def, functions_of
from trainworthy.check.static.everywhere import project_files, text_of
from trainworthy.check.static.tree import own, unparsed

BAD = """\
import torch


class Shuffled:
    def __init__(self, size, buffer):
        self.size, self.buffer = size, buffer

    def __iter__(self):
        if self.buffer >= self.size:
            return iter(torch.randperm(self.size).tolist())  # <- TW832
        held = list(range(self.buffer))
        for index in range(self.buffer, self.size):
            at = int(torch.randint(self.buffer, (1,)))
            yield held[at]
            held[at] = index
"""

GOOD = """\
import torch


class Shuffled:
    def __init__(self, size, buffer):
        self.size, self.buffer = size, buffer

    def __iter__(self):
        if self.buffer >= self.size:
            yield from torch.randperm(self.size).tolist()
            return
        held = list(range(self.buffer))
        for index in range(self.buffer, self.size):
            at = int(torch.randint(self.buffer, (1,)))
            yield held[at]
            held[at] = index
"""

_PLAIN = frozenset({"staticmethod", "classmethod", "property", "override", "torch.no_grad", "torch.inference_mode"})


@rule(code="TW832", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at functions that yield."""
    if "yield" not in analysis.source.words:
        return
    for function in functions_of(analysis.nodes):
        if not isinstance(function, ast.FunctionDef) or not _is_plain(function):
            continue
        nodes = own(function)
        yields: list[ast.AST] = [one for one in nodes if isinstance(one, ast.Yield | ast.YieldFrom)]
        if not yields or _is_a_coroutine(analysis, yields):
            continue
        lost = [one for one in nodes if isinstance(one, ast.Return) and one.value is not None and _says_much(one.value)]
        if not lost or _value_is_asked_for(analysis, function):
            continue
        for one in lost:
            yield Hit(
                place=analysis.place(one),
                message=f"`{function.name}` is a generator: a loop over it never sees what is returned here",
                evidence=(Evidence("it yields here", analysis.place(yields[0])),),
                fix="Write `yield from` and a bare `return`, or move the part that yields into a function of its own.",
            )


def _is_plain(function: Def) -> bool:
    """Say whether nothing around a function changes what calling it gives."""
    return all(unparsed(one).partition("(")[0] in _PLAIN for one in function.decorator_list)


def _is_a_coroutine(analysis: Analysis, yields: list[ast.AST]) -> bool:
    """Say whether what is sent in is used: such a generator is driven by somebody who knows of its value."""
    return any(not isinstance(analysis.parents.get(one), ast.Expr) for one in yields)


def _says_much(value: ast.expr) -> bool:
    """Say whether a value is more than a constant or nothing."""
    if isinstance(value, ast.Constant) or unparsed(value) in ("self", "StopIteration", "StopIteration()"):
        return False
    if isinstance(value, ast.List | ast.Tuple | ast.Set):
        return bool(value.elts)
    if isinstance(value, ast.Dict):
        return bool(value.keys)
    if isinstance(value, ast.Call) and getattr(value.func, "id", "") in ("iter", "list", "tuple", "dict", "set"):
        return bool(value.args) and _says_much(value.args[0])
    return not isinstance(value, ast.Yield | ast.YieldFrom | ast.Await)


def _value_is_asked_for(analysis: Analysis, function: Def) -> bool:
    """Say whether any program of the project may take the value of a generator of this name."""
    asks = re.compile(
        rf"[=(,]\s*\(?\s*yield\s+from\s+[\w.]*\b{function.name}\b|return\s+\(?\s*yield\s+from|StopIteration\b.*\bas\b"
    )
    texts = [analysis.source.text, *map(text_of, project_files(analysis.source.path) or ())]
    return any(("yield from" in text or "StopIteration" in text) and asks.search(text) for text in texts)
