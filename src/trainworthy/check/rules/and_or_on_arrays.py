"""`and` or `or` between arrays.

What it finds:
    `and`, `or` and `not` whose operands are arrays or tensors with more than one element.

Why:
    Python asks for the truth of a whole array, which is a ValueError; with one element it silently takes one
    operand.

How sure:
    An operand is a comparison or array that is known to have at least one axis. Reductions such as `.any()` are
    numbers.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.values import Tensor, Value

BAD = """\
import numpy as np

m = np.random.rand(4, 4)
inner = np.argwhere((m > 0) and (m < 1))  # <- TW103
"""

GOOD = """\
import numpy as np

m = np.random.rand(4, 4)
inner = np.argwhere((m > 0) & (m < 1))
whole = (m > 0).all() and (m < 1).all()
"""


@rule(code="TW103", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at boolean operators."""
    for operation in analysis.operations:
        node = operation.node
        if not isinstance(node, ast.BoolOp) or not any(_is_array(one) for one in operation.operands):
            continue
        word = "and" if isinstance(node.op, ast.And) else "or"
        yield Hit(
            place=analysis.place(node, operation.context),
            message=f"`{word}` asks for the truth of a whole array",
            fix=f"Use `{'&' if word == 'and' else '|'}` with both sides in parentheses.",
        )


def _is_array(value: Value) -> bool:
    if not isinstance(value, Tensor) or not value.shape:
        return False
    return any(size is None or size > 1 for size in value.shape)
