"""A limit is measured before the prompt is cut.

What it finds:
    `limit = ids.shape[1] + n`, then `ids = ids[:, -window:]` or another slice of itself, then `while ids.shape[1] <
    limit`.

Why:
    The limit counts tokens that were cut off: more is generated than was asked for, by as many.

How sure:
    The three statements stand in this order in one function, about the same name.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis

BAD = """\
import torch


def generate(model, ids, count, window):
    limit = ids.shape[1] + count
    ids = ids[:, -window:]
    while ids.shape[1] < limit:  # <- TW271
        ids = torch.cat([ids, model(ids)[:, -1:].argmax(-1)], dim=1)
    return ids
"""

GOOD = """\
import torch


def generate(model, ids, count, window):
    ids = ids[:, -window:]
    limit = ids.shape[1] + count
    while ids.shape[1] < limit:
        ids = torch.cat([ids, model(ids)[:, -1:].argmax(-1)], dim=1)
    return ids
"""


@rule(code="TW271", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at loops that run up to a length."""
    if "shape" not in analysis.source.words and "size" not in analysis.source.words:
        return
    for function in analysis.nodes.get(ast.FunctionDef, ()):
        if not isinstance(function, ast.FunctionDef):
            continue
        for loop in _loops(function.body):
            found = _limit_of(loop)
            if found is None:
                continue
            text, limit = found
            earlier = [one for one in function.body if one.lineno < loop.lineno and isinstance(one, ast.Assign)]
            measured = [one for one in earlier if _sets(one, limit) and text in ast.unparse(one.value)]
            name = text.partition(".")[0]
            cut = [one for one in earlier if _sets(one, name) and _is_slice_of(one.value, name)]
            if len(measured) == 1 and cut and cut[-1].lineno > measured[0].lineno:
                yield Hit(
                    place=analysis.place(loop),
                    message=f"`{limit}` was measured before `{name}` was cut: the loop runs longer than was asked for",
                    evidence=(
                        Evidence("it is measured here", analysis.place(measured[0])),
                        Evidence("it is cut here", analysis.place(cut[-1])),
                    ),
                    fix=f"Measure `{limit}` after the cut.",
                )


def _loops(body: list[ast.stmt]) -> Iterator[ast.While]:
    """Yield the loops that always run: those of the function, and of its with blocks."""
    for one in body:
        if isinstance(one, ast.While):
            yield one
        elif isinstance(one, ast.With):
            yield from _loops(one.body)


def _limit_of(loop: ast.stmt) -> tuple[str, str] | None:
    """Return the length and the name that a loop compares it with."""
    test = loop.test if isinstance(loop, ast.While) else None
    if not isinstance(test, ast.Compare) or len(test.ops) != 1 or not isinstance(test.ops[0], ast.Lt | ast.LtE):
        return None
    limit, length = test.comparators[0], ast.unparse(test.left)
    is_length = ".shape[" in length or ".size(" in length
    return (length, limit.id) if is_length and isinstance(limit, ast.Name) else None


def _sets(node: ast.Assign, name: str) -> bool:
    return len(node.targets) == 1 and getattr(node.targets[0], "id", "") == name


def _is_slice_of(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Subscript) and getattr(node.value, "id", "") == name and any(
        isinstance(one, ast.Slice) and (one.lower is not None or one.upper is not None) for one in ast.walk(node.slice)
    )  # fmt: skip
