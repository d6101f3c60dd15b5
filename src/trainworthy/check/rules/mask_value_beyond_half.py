"""A mask value that half precision does not have.

What it finds:
    `masked_fill` with a number below -65504, the least of float16, in a function that casts to half precision
    (`.half()`, `torch.float16`, `torch.half`) and not back.

Why:
    float16 has no such number: torch raises "value cannot be converted to type at::Half without overflow", in the first
    step that runs in half precision.

How sure:
    A warning: which tensor is cast is not followed through calls. Silent where the scores are cast to float first.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.queries import body_of, once_per_place
from trainworthy.check.static.tree import walk

BAD = """\
import torch


def scores(q, k, mask):
    s = q.half() @ k.half().transpose(-1, -2)
    return s.masked_fill(mask == 0, -1e9)  # <- TW261
"""

GOOD = """\
import torch


def scores(q, k, mask):
    s = q.half() @ k.half().transpose(-1, -2)
    s = s.masked_fill(mask == 0, torch.finfo(s.dtype).min)
    return s


def plain(q, k, mask):
    return (q @ k.transpose(-1, -2)).masked_fill(mask == 0, -1e9)
"""

_LEAST = -65504.0


@rule(code="TW261", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the numbers that masks write."""
    if not analysis.source.words.intersection(("masked_fill", "masked_fill_")):
        return
    for call in once_per_place(analysis.method_calls("masked_fill", "masked_fill_")):
        node = call.argument_node(1, "value")
        value = _number(node)
        if value is None or value >= _LEAST or value == float("-inf"):
            continue
        if any(_asks_for_the_type(test) for test, _ in call.context.branches):
            continue
        casts = set(_casts(body_of(call.context)))
        if "half" in casts and "float" not in casts:
            yield Hit(
                place=analysis.place(call.node, call.context),
                message=f"{value:g} is below the least number of float16, {_LEAST:g}, and this function "
                f"computes in half "
                "precision",
                fix="Write torch.finfo(scores.dtype).min, or float('-inf').",
            )


def _number(node: ast.expr | None) -> float | None:
    try:
        value = ast.literal_eval(node) if node is not None else None
    except (ValueError, TypeError):
        return None
    return float(value) if isinstance(value, int | float) else None


def _asks_for_the_type(test: ast.expr) -> bool:
    return any(getattr(one, "attr", "") in ("dtype", "is_floating_point") for one in walk(test))


def _casts(body: ast.AST) -> Iterator[str]:
    if not isinstance(body, ast.FunctionDef):
        return
    for one in walk(body):
        if isinstance(one, ast.Attribute):
            if one.attr in ("half", "float16"):
                yield "half"
            elif one.attr in ("float", "float32", "bfloat16"):
                yield "float"
