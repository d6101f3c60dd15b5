"""The reduction is given to a loss in the place of another argument, and is ignored.

What it finds:
    `nn.MSELoss("sum")`, `nn.KLDivLoss("batchmean")` and, in a class that extends one of these losses,
    `super().__init__(reduction)`: the first argument is the old `size_average`, for which any text is true. Also
    `F.mse_loss(x, y, "sum")`, `F.kl_div(p, q, "batchmean")`.

Why:
    The loss is the mean over all elements whatever was asked for: "sum" and "none" are ignored, and "batchmean" is too
    small by the number of classes. PyTorch gives a warning of old arguments, once.

How sure:
    Sure, by PyTorch's own signatures. Silent where the text stands in its own place, after the two old arguments.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called
from trainworthy.check.static.libraries import full_name
from trainworthy.check.static.tree import unparsed

BAD = """\
import torch.nn as nn

criterion = nn.KLDivLoss("batchmean")  # <- TW233
"""
GOOD = """\
import torch.nn as nn

criterion = nn.KLDivLoss(reduction="batchmean")
"""

_REDUCTIONS = frozenset({"none", "mean", "sum", "batchmean"})
# The place of ``size_average`` among the positional arguments, by the signatures of torch (a test compares them).
MODULES = dict.fromkeys(
    "L1Loss MSELoss KLDivLoss SmoothL1Loss SoftMarginLoss MultiLabelMarginLoss".split(), 0
) | dict.fromkeys(
    "CrossEntropyLoss NLLLoss BCELoss BCEWithLogitsLoss MultiLabelSoftMarginLoss HingeEmbeddingLoss".split(), 1
)
FUNCTIONS = dict.fromkeys("l1_loss mse_loss kl_div smooth_l1_loss soft_margin_loss".split(), 2) | dict.fromkeys(
    "cross_entropy nll_loss binary_cross_entropy binary_cross_entropy_with_logits".split(), 3
)
_NAMES = frozenset({*MODULES, *FUNCTIONS, "__init__"})


@rule(code="TW233", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at calls of torch's losses, and at what classes hand on to them."""
    if "torch" not in analysis.source.words or not _NAMES & analysis.source.words:
        return
    for call in analysis.nodes.get(ast.Call, ()):
        if called(call) not in _NAMES or not isinstance(call, ast.Call) or not call.args:
            continue
        if any(isinstance(one, ast.Starred) for one in call.args):
            continue
        library, _, name = full_name(analysis.source, call.func).rpartition(".")
        at = MODULES.get(name) if library == "torch.nn" else None
        if library == "torch.nn.functional":
            at = FUNCTIONS.get(name)
        if library not in ("torch.nn", "torch.nn.functional"):
            name = _base_initialised(analysis, call)
            at = MODULES.get(name)
        if at is not None and len(call.args) > at and _is_reduction(call.args[at]):
            given = unparsed(call.args[at])
            yield Hit(
                place=analysis.place(call),
                message=f"{name} takes {given} for `size_average`, and averages over all elements",
                fix=f"Write `reduction={given}`.",
            )


def _is_reduction(node: ast.expr) -> bool:
    is_text = isinstance(node, ast.Constant) and node.value in _REDUCTIONS
    return is_text or getattr(node, "attr", getattr(node, "id", "")) == "reduction"


def _base_initialised(analysis: Analysis, call: ast.Call) -> str:
    """Return the loss of torch that ``super().__init__(...)`` initialises, in a class that extends only that."""
    func = call.func
    if not isinstance(func, ast.Attribute) or func.attr != "__init__" or called(func.value) != "super":
        return ""
    around: ast.AST = call
    while around in analysis.parents and not isinstance(around, ast.ClassDef):
        around = analysis.parents[around]
    bases = around.bases if isinstance(around, ast.ClassDef) else []
    if len(bases) != 1:
        return ""
    library, _, name = full_name(analysis.source, bases[0]).rpartition(".")
    return name if library == "torch.nn" else ""
