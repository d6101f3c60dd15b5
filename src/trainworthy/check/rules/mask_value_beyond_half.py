"""A mask value that half precision does not have.

What it finds:
    `masked_fill`, or `scores[mask] = ...`, with a number below -65504, the least of float16, in a function that casts
    to half precision (`.half()`, `torch.float16`, `torch.half`) and not back; or into a product of matrices in a model
    that is called under an autocast to float16.

Why:
    float16 has no such number: torch raises "value cannot be converted to type at::Half without overflow", in the first
    step that runs in half precision.

How sure:
    A warning: which tensor is cast is not followed through calls. Silent where the scores are cast to float first.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called, followed, keyword, subject
from trainworthy.check.static.facts import Context
from trainworthy.check.static.queries import body_of
from trainworthy.check.static.tree import unparsed, walk
from trainworthy.check.static.values import Const, Value

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


_AUTOMATIC = ("torch.autocast", "torch.amp.autocast", "torch.cuda.amp.autocast")


@rule(code="TW261", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the numbers that masks write."""
    if not analysis.source.words.intersection(("half", "float16", "autocast")):
        return
    done: set[ast.AST] = set()
    for node, value, context in _written(analysis):
        if node in done or value is None or value >= _LEAST or value == float("-inf"):
            continue
        if any(_asks_for_the_type(test) for test, _ in context.branches):
            continue
        casts = set(_casts(body_of(context)))
        automatic = "float" not in casts and _is_cast_to_half(analysis, context) and _is_of_products(node, context)
        if ("half" in casts and "float" not in casts) or automatic:
            done.add(node)
            where = "autocast runs this" if automatic else "this function computes"
            yield Hit(
                place=analysis.place(node, context),
                message=f"{value:g} is below the least number of float16, {_LEAST:g}, and {where} in half precision",
                fix="Write torch.finfo(scores.dtype).min, or float('-inf').",
            )


def _written(analysis: Analysis) -> Iterator[tuple[ast.AST, float | None, Context]]:
    """Yield what is written where a mask says: by `masked_fill`, and by `scores[mask] = value`."""
    for call in analysis.method_calls("masked_fill", "masked_fill_"):
        yield call.node, _number(call.argument(1, "value"), call.argument_node(1, "value")), call.context
    for store in analysis.stores:
        target = store.target
        if isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
            yield store.node, _number(store.value, getattr(store.node, "value", None)), store.context


def _number(value: Value | None, node: ast.expr | None) -> float | None:
    """Return the number that is written, literally or by a name."""
    known = value.value if isinstance(value, Const) else None
    if known is None:
        try:
            known = ast.literal_eval(node) if node is not None else None
        except (ValueError, TypeError):
            return None
    return float(known) if isinstance(known, int | float) else None


def _is_cast_to_half(analysis: Analysis, context: Context) -> bool:
    """Say whether an autocast to float16 is open here, or around a call that leads here."""
    return any(_is_to_half(analysis, one.node, one.name) for one in context.withs if one.name in _AUTOMATIC)


def _is_to_half(analysis: Analysis, node: ast.AST, name: str) -> bool:
    """Say whether an autocast is to float16, which is what it does on CUDA if nothing else is said."""
    if not isinstance(node, ast.Call):
        return False
    first = node.args[0] if node.args else keyword(node, "device_type")
    on_cuda = name == "torch.cuda.amp.autocast" or (first is not None and unparsed(first).startswith("'cuda"))
    kind = keyword(node, "dtype")
    if kind is None or keyword(node, "enabled") is not None:
        return kind is None and on_cuda and keyword(node, "enabled") is None and len(node.args) <= 1
    given = [kind, *_values_of(analysis, kind)]
    return any(getattr(one, "attr", "") in ("float16", "half") for each in given for one in walk(each))


def _values_of(analysis: Analysis, node: ast.expr) -> list[ast.expr]:
    """Return what a variable or attribute is given in this file."""
    text = unparsed(node)
    return [
        one.value
        for one in analysis.nodes.get(ast.Assign, ())
        if isinstance(one, ast.Assign) and any(unparsed(target) == text for target in one.targets)
    ]


_PRODUCTS = frozenset({"matmul", "bmm", "einsum", "baddbmm", "mm"})


def _is_of_products(node: ast.AST, context: Context) -> bool:
    """Say whether a mask is written into a product of matrices, scaled at most: autocast makes it float16."""
    func = node.func if isinstance(node, ast.Call) else None
    target = node.targets[0] if isinstance(node, ast.Assign) else None
    inner = func.value if isinstance(func, ast.Attribute) else getattr(target, "value", None)
    for _ in range(8):
        if inner is None:
            return False
        inner = followed(inner, body_of(context))
        if isinstance(inner, ast.BinOp) and isinstance(inner.op, ast.MatMult):
            return True
        if isinstance(inner, ast.BinOp) and isinstance(inner.op, ast.Mult | ast.Div) and _is_a_scale(inner.right):
            inner = inner.left
        elif called(inner) in _PRODUCTS:
            return True
        elif called(inner) in ("masked_fill", "view", "reshape", "transpose"):
            inner = subject(inner)  # type: ignore[arg-type]
        else:
            return False
    return False


def _is_a_scale(node: ast.expr) -> bool:
    """Say whether a factor is a number of Python: a root of one, or what is called a scale."""
    names = {last_name(one) for one in walk(node)} - {"", "self", "math", "np"}
    return all(re.search(r"scal|sqrt|dim|size|^d_?[kmh]?$|head|temp", one) for one in names)


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
