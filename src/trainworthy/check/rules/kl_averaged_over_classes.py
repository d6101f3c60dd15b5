"""The Kullback-Leibler divergence is averaged over classes too, not only over samples.

What it finds:
    `F.kl_div(log_p, q)` and `nn.KLDivLoss()` with the default reduction, or with `reduction="mean"`, whose result is
    not multiplied by a number of classes.

Why:
    A divergence is a sum over classes. `mean` divides it by their number as well: with 100 classes the term weighs a
    hundredth of what the formula says, and in distillation, where it is added to a cross-entropy, hardly anything of
    the teacher is learned. PyTorch's documentation says to use `batchmean`, and it warns when the code runs.

How sure:
    Sure of the arithmetic. Whoever tuned the weight of the term with it may keep it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called
from trainworthy.check.static.libraries import full_name
from trainworthy.check.static.tree import unparsed

BAD = """\
import torch.nn.functional as F


def distillation(student, teacher, labels, t, alpha):
    soft = F.kl_div(F.log_softmax(student / t, dim=1), F.softmax(teacher / t, dim=1)) * t * t  # <- TW234
    return alpha * soft + (1 - alpha) * F.cross_entropy(student, labels)
"""
GOOD = BAD.replace(", dim=1)) * t * t  # <- TW234", ', dim=1), reduction="batchmean") * t * t')

_OLD = frozenset({"size_average", "reduce"})
_CLASSES = re.compile(r"class|num_?c\b|n_?c\b|vocab|size\((1|-1)\)|shape\[(1|-1)\]|\bdim\b|logits\.s", re.IGNORECASE)


@rule(code="TW234", severity="hint")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at calls of the function, and at modules that are made."""
    if not {"kl_div", "KLDivLoss"} & analysis.source.words:
        return
    for call in analysis.nodes.get(ast.Call, ()):
        if called(call) not in ("kl_div", "KLDivLoss") or not isinstance(call, ast.Call):
            continue
        name = full_name(analysis.source, call.func)
        places = {"torch.nn.functional.kl_div": 2, "torch.nn.KLDivLoss": 0}.get(name)
        if places is None or len(call.args) > places or not _averages(call) or _is_multiplied(analysis, call):
            continue
        yield Hit(
            place=analysis.place(call),
            message=f"{name.rpartition('.')[2]} averages over the classes as well as over the samples",
            fix='Write `reduction="batchmean"`.',
        )


def _averages(call: ast.Call) -> bool:
    given = {one.arg: one.value for one in call.keywords}
    if None in given or _OLD & set(given) or any(isinstance(one, ast.Starred) for one in call.args):
        return False
    reduction = given.get("reduction")
    return reduction is None or getattr(reduction, "value", "") == "mean"


def _is_multiplied(analysis: Analysis, call: ast.Call) -> bool:
    """Say whether the statement of a call speaks of a number of classes outside the call."""
    statement: ast.AST = call
    while statement in analysis.parents and not isinstance(statement, ast.stmt):
        statement = analysis.parents[statement]
    text = unparsed(statement).replace(unparsed(call), "")
    return not isinstance(statement, ast.FunctionDef | ast.ClassDef) and _CLASSES.search(text) is not None
