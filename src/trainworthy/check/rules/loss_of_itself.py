"""A loss compares a value with itself.

What it finds:
    A loss of torch whose input and target are written alike: `F.mse_loss(x, x)`.

Why:
    It is a constant, mostly 0: nothing is learned from it, and the term does not do what its weight promises.

How sure:
    Both arguments are the same name, attribute or item, without a call that may give another value each time. Silent
    about `binary_cross_entropy`, which gives the entropy of such, and in assertions.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.queries import once_per_place
from trainworthy.check.static.tree import walk

BAD = """\
import torch
import torch.nn.functional as F


def control_effort(u):
    return F.mse_loss(u, u)  # <- TW230
"""

GOOD = """\
import torch
import torch.nn.functional as F


def control_effort(u):
    return F.mse_loss(u, torch.zeros_like(u))
"""

_FUNCTIONS = (
    "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "cross_entropy", "kl_div",
    "binary_cross_entropy_with_logits", "nll_loss", "poisson_nll_loss", "soft_margin_loss",
)  # fmt: skip
_CLASSES = (
    "MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "BCEWithLogitsLoss", "CrossEntropyLoss", "KLDivLoss",
    "NLLLoss", "PoissonNLLLoss", "SoftMarginLoss",
)  # fmt: skip
_NAMES = (
    *(f"torch.nn.functional.{one}" for one in _FUNCTIONS), *(f"torch.nn.{one}.__call__" for one in _CLASSES)
)  # fmt: skip


@rule(code="TW230", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the two arguments of losses."""
    for call in once_per_place(analysis.calls(*_NAMES)):
        first, second = call.argument_node(0, "input"), call.argument_node(1, "target")
        if first is None or second is None or call.starred or not _is_plain(first):
            continue
        if ast.unparse(first) == ast.unparse(second) and not _is_asserted(call.node, analysis.parents):
            yield Hit(
                place=analysis.place(call.node, call.context),
                message=f"the loss compares `{ast.unparse(first)}` with itself",
                fix="Give it the target.",
            )


def _is_asserted(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    """Say whether a test looks at the value."""
    while (node := parents.get(node, node)) in parents:
        name = getattr(node.func, "attr", getattr(node.func, "id", "")) if isinstance(node, ast.Call) else ""
        if isinstance(node, ast.Assert) or "assert" in name.lower() or name == "allclose":
            return True
    return False


def _is_plain(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return False
    return not any(isinstance(one, ast.Call | ast.NamedExpr | ast.Await) for one in walk(node))
