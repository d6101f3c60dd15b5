"""A fraction is written into an array of integers.

What it finds:
    `a[i] = 0.5` or `a[i] = 1 / n` where `a` was made from integers (`torch.full(size, 0)` is, too, and what `new_full`
    or `new_zeros` of integers give); `t.fill_(0.5)` and `t.scatter_(1, at, 1 - eps)` of such a tensor. In real steps:
    a number with a fraction, or a tensor of numbers between -1 and 1, that is written into a tensor of integers.

Why:
    The fraction is cut off silently.

How sure:
    The array is made of integer literals, or with an integer type, in the same file. Of quotients, those are
    taken whose numerator is 1 or a literal fraction: others may be whole. In real steps the numbers are known; bytes
    are left out, which pictures are cut to on purpose, and so is what is above 1, which may be rounded on purpose.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Call, Context
from trainworthy.check.static.values import Const, Ref, Sequence, Tensor, Value

BAD = """\
import numpy as np

a = np.array([1, 2, 3])
a[0] = 0.5  # <- TW504
"""

GOOD = """\
import numpy as np

a = np.array([1.0, 2.0, 3.0])
a[0] = 0.5
"""


_Operands = dict[ast.AST, tuple[Value, ...]]
_INTEGER_TYPES = frozenset(
    "builtins.int numpy.int64 numpy.int32 numpy.int16 numpy.int8 numpy.uint8 torch.long torch.int64 torch.int "
    "torch.int32 torch.int16 torch.short torch.uint8 torch.int8".split()
)
_DRAWN = ("torch.randint", "torch.randperm", "numpy.random.randint", "torch.LongTensor", "torch.IntTensor")
_LIKE_ITS_OWNER = ("new_full", "new_zeros", "new_ones", "new_empty")
_WRITERS = {"fill_": (0, "value"), "scatter_": (2, "value"), "index_fill_": (2, "value"), "masked_fill_": (1, "value")}


@rule(code="TW504", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at items of integer arrays, and at what methods write into them."""
    operands: _Operands = {one.node: one.operands for one in analysis.operations}
    like = {id(call.result): call for name in _LIKE_ITS_OWNER for call in analysis.method_calls(name)}
    seen: set[ast.AST] = set()
    for node, owner, given, value, context in _written(analysis):
        if node in seen or not isinstance(owner, Tensor) or not _is_a_fraction(given, value, operands):
            continue
        made = like.get(id(owner)) or owner.made_by
        if made is None or made.result is not owner or not _integers(made, like):
            continue
        seen.add(node)
        yield Hit(
            place=analysis.place(node, context),
            message="the array holds integers; the fraction is cut off",
            evidence=(Evidence("it is made here", analysis.place(made.node, made.context)),),
            fix="Make it of floats: `dtype=float`.",
        )


def _written(analysis: Analysis) -> Iterator[tuple[ast.AST, Value | None, ast.expr, Value | None, Context]]:
    """Yield what is written into arrays: the place, the array, and the value as it is written and as it is known."""
    for store in analysis.stores:
        if isinstance(store.target, ast.Subscript) and isinstance(store.node, ast.Assign):
            yield store.node, store.owner, store.node.value, store.value, store.context
    for name, (at, keyword) in _WRITERS.items():
        for call in analysis.method_calls(name):
            given = call.argument_node(at, keyword)
            if given is not None and (not call.has(None, "reduce") or call.starred):
                yield call.node, call.owner, given, call.argument(at, keyword), call.context


def _is_a_fraction(node: ast.expr, value: Value | None, operands: _Operands) -> bool:
    """Say whether a number is a literal fraction, 1 less one, or a quotient with 1 or such a fraction on top."""
    if isinstance(value, Const):
        return isinstance(value.value, float) and math.isfinite(value.value) and not value.value.is_integer()
    if not isinstance(node, ast.BinOp) or node not in operands:
        return False
    left, right = operands[node]
    if isinstance(node.op, ast.Div):
        whole_one = isinstance(left, Const) and left.value == 1
        return not isinstance(right, Const) and (whole_one or _is_a_fraction(node.left, left, operands))
    whole = isinstance(left, Const) and isinstance(left.value, int | float)
    return isinstance(node.op, ast.Sub) and whole and isinstance(right, Const) and _is_a_fraction(node.right, right, {})


def _integers(made: Call, like: dict[int, Call], depth: int = 4) -> bool:
    """Say whether a call makes an array of integers."""
    given = made.keywords.get("dtype")
    if given is not None:
        return isinstance(given, Ref) and given.name in _INTEGER_TYPES
    if made.starred:
        return False
    if made.method in _LIKE_ITS_OWNER and isinstance(made.owner, Tensor):
        owner = like.get(id(made.owner)) or made.owner.made_by
        return depth > 0 and owner is not None and _integers(owner, like, depth - 1)
    first = made.args[0] if made.args else None
    if made.name in _DRAWN:
        return made.name.startswith("torch") or len(made.args) <= 3
    if made.name in ("torch.full", "numpy.full"):
        filled = made.constant(1, "fill_value")
        return type(filled) is int and len(made.args) <= 2
    if made.name in ("numpy.array", "torch.tensor") and isinstance(first, Sequence) and first.items:
        return len(made.args) == 1 and all(isinstance(o, Const) and type(o.value) is int for o in first.items)
    return (
        made.name in ("numpy.arange", "torch.arange")
        and len(made.args) == 1
        and isinstance(first, Const)
        and type(first.value) is int
    )


LIVE_BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def smoothed(labels, eps=0.1):
    soft = labels.unsqueeze(1).repeat(1, 3)
    soft.fill_(eps / 2)  # <- TW504
    return soft.scatter(1, labels.unsqueeze(1), 1 - eps)  # <- TW504


for step in range(3):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), smoothed(y).float())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
LIVE_GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def smoothed(labels, eps=0.1):
    soft = torch.zeros(len(labels), 3)
    soft.fill_(eps / 2)
    return soft.scatter(1, labels.unsqueeze(1), 1 - eps)


for step in range(3):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    y[0] = 2.0
    y.copy_(y.float())
    picture = torch.zeros(4, dtype=torch.uint8)
    picture[1] = 127.5
    loss = nn.functional.cross_entropy(model(x), smoothed(y))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW504", severity="error", depth="live")
def find_live(facts: LiveFacts) -> Iterator[Hit]:
    """Yield each line that did so."""
    for one in facts.truncations:
        yield Hit(
            place=one.place,
            message=f"{one.value:.4g} is written into a tensor of {one.dtype}, as {int(one.value)}",
            fix="Make it of floats: `dtype=torch.float32`, or `.float()` first.",
        )
