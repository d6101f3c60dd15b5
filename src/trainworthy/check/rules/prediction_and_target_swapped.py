"""A loss or metric gets the target for the prediction and the prediction for the target.

What it finds:
    `precision_score(predictions, labels)` of scikit-learn, which takes the truth first, and
    `F.binary_cross_entropy(target, output)`, `F.kl_div(target, output)` or their modules, which take it second; so
    with `(x, recon_x)` and `(torch.ones_like(x), x)`.

Why:
    Precision becomes recall, the confusion matrix its transpose; a loss has another gradient, or is that of the labels.
    The numbers look like results.

How sure:
    The names of both arguments say what they are, or the first is all ones or zeros. Measures that are the same both
    ways are left alone.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called
from trainworthy.check.static.queries import once_per_place

BAD = """\
import torch
from sklearn.metrics import precision_score

model = torch.nn.Linear(4, 2)
labels = torch.tensor([0, 1, 1, 0])
predictions = model(torch.rand(4, 4)).argmax(1)
print(precision_score(predictions, labels))  # <- TW232
"""

GOOD = """\
import torch
from sklearn.metrics import precision_score

model = torch.nn.Linear(4, 2)
labels = torch.tensor([0, 1, 1, 0])
predictions = model(torch.rand(4, 4)).argmax(1)
print(precision_score(labels, predictions))
"""

_TRUTH_FIRST = tuple(f"sklearn.metrics.{one}" for one in (
    "precision_score", "recall_score", "classification_report", "confusion_matrix", "roc_auc_score",
    "average_precision_score", "precision_recall_curve", "roc_curve", "precision_recall_fscore_support", "r2_score",
    "balanced_accuracy_score", "fbeta_score", "explained_variance_score", "log_loss",
))  # fmt: skip
_TRUTH_SECOND = ("torch.nn.functional.binary_cross_entropy", "torch.nn.functional.kl_div", "torch.nn.BCELoss.__call__",
                 "torch.nn.KLDivLoss.__call__", "torch.nn.functional.binary_cross_entropy_with_logits",
                 "torch.nn.BCEWithLogitsLoss.__call__", "torch.nn.functional.cross_entropy",
                 "torch.nn.functional.nll_loss", "torch.nn.CrossEntropyLoss.__call__")  # fmt: skip
_PREDICTED = re.compile(
    r"(^|_)(y_?pred\w*|preds?|predicted|predictions?|y_?hat|outputs?|logits?|probs?|scores?)(_|$|\d)", re.IGNORECASE
)
_TRUE = re.compile(
    r"(^|_)(y_?true|targets?|labels?|gts?|ground_?truth|truth|y_?test|y_?val|trues?)(_|$|\d)", re.IGNORECASE
)

_TRUTH_OF = re.compile(r"(gt|ground_?truth)s?_", re.IGNORECASE)
_OF = r"(?:pred|preds|predicted|prediction|hat|recon|recons|reconst|reconstructed|reconstruction|rec)"
_CONSTANT = frozenset({"ones_like", "zeros_like", "full_like", "ones", "zeros"})


@rule(code="TW232", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at what losses and metrics get."""
    words = analysis.source.words
    if not words & {"sklearn", "torch"}:
        return
    for names, truth_at in ((_TRUTH_FIRST, 0), (_TRUTH_SECOND, 1)):
        for call in once_per_place(analysis.calls(*names)):
            if call.context.source is not analysis.source or len(call.node.args) < 2:
                continue
            truth, prediction = call.node.args[truth_at], call.node.args[1 - truth_at]
            said = _says(truth, _PREDICTED, _TRUE) and _says(prediction, _TRUE, _PREDICTED)
            if said or (truth_at == 1 and _is_turned(prediction, truth)):
                order = "the truth first" if truth_at == 0 else "the prediction first"
                yield Hit(
                    place=analysis.place(call.node),
                    message=f"`{call.name.removesuffix('.__call__').rpartition('.')[2]}` takes {order}: these are the "
                    "other way round",
                    fix="Swap the two arguments.",
                )


def _says(node: ast.expr, wanted: re.Pattern[str], other: re.Pattern[str]) -> bool:
    """Say whether a name, looked at through methods and indices, is of one kind and not of the other.

    What is called the truth of something, `gt_logits`, is the truth.
    """
    name = _name(node)
    if _TRUTH_OF.match(name):
        return wanted is _TRUE
    return bool(wanted.search(name)) and not other.search(name)


def _is_turned(first: ast.expr, second: ast.expr) -> bool:
    """Say whether a loss gets first what cannot be the prediction, and then the prediction of just this."""
    if called(first) in _CONSTANT and called(second) not in _CONSTANT:
        return isinstance(second, ast.Name | ast.Call | ast.Attribute)
    one, other = _name(first), _name(second)
    if re.fullmatch(r"targets?", one) and re.fullmatch(r"inputs?", other):  # as torch calls its own
        return True
    return bool(one) and re.fullmatch(rf"{_OF}_{re.escape(one)}|{re.escape(one)}_{_OF}", other) is not None


def _name(node: ast.expr) -> str:
    """Return a variable's name, looked at through methods and indices; "" for anything else."""
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            node = node.func.value
        elif isinstance(node, ast.Subscript):
            node = node.value
        else:
            return ""
    return node.id
