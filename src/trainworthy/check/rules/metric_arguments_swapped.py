"""A torchmetrics metric gets the target first.

What it finds:
    `metrics(target, prediction)` and `self.recall.update(labels, logits)` in a file that uses torchmetrics.

Why:
    torchmetrics takes the prediction first, scikit-learn the truth. The other way round precision is recall, R² and
    relative errors are divided by the prediction, and a confusion matrix is transposed.

How sure:
    What is called is named as a metric, is no function of the file or of scikit-learn and no object of such a class,
    and both arguments are called what they are.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.tree import walk

BAD = """\
import torch
import torchmetrics


class Module(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.recall = torchmetrics.Recall(task="binary")

    def report(self, output, target):
        return self.recall(target, output.squeeze(-1))  # <- TW236
"""

GOOD = """\
import torch
import torchmetrics


class Module(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.recall = torchmetrics.Recall(task="binary")

    def report(self, output, target):
        return self.recall(output.squeeze(-1), target)
"""

_METRIC = re.compile(
    r"metric|accuracy|(^|_)acc(_|$)|f1|recall|precision|auroc|auc(_|$)|r2|mape|confusion|specificity|(^|_)ap(_|$)"
)
_PREDICTED = re.compile(
    r"(^|_)(y_?pred\w*|preds?|predicted|predictions?|y_?hat|outputs?|logits?|probs?|scores?)(_|$|\d)"
)
_TRUE = re.compile(r"(^|_)(y_?true|targets?|labels?|gts?|ground_?truth|truth|trues?)(_|$|\d)|^y$")


@rule(code="TW236", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the calls of metrics."""
    if "torchmetrics" not in analysis.source.words:
        return
    other = _named_otherwise(analysis)
    for call in analysis.nodes.get(ast.Call, ()):
        if (
            not isinstance(call, ast.Call)
            or len(call.args) < 2
            or any(isinstance(one, ast.Starred) for one in call.args)
        ):
            continue
        func = call.func
        if isinstance(func, ast.Attribute) and func.attr in ("update", "forward"):
            func = func.value
        name = func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")
        if (
            not _METRIC.search(name.lower())
            or name in other
            or getattr(getattr(func, "value", None), "id", "") in other
        ):
            continue
        if _kind(call.args[0]) == "target" and _kind(call.args[1]) == "prediction":
            yield Hit(
                place=analysis.place(call),
                message=f"`{name}` takes the prediction first, and gets the target",
                fix="Swap the two arguments.",
            )


def _named_otherwise(analysis: Analysis) -> set[str]:
    """Return names that are known to be no metric of torchmetrics."""
    found: set[str] = set()
    for node in walk(analysis.source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("torchmetrics"):
            found |= {one.asname or one.name for one in node.names}
        elif isinstance(node, ast.Import):
            found |= {
                one.asname or one.name.partition(".")[0]
                for one in node.names
                if not one.name.startswith("torchmetrics")
            }
    return found | _made_of(analysis, found)


def _made_of(analysis: Analysis, classes: set[str]) -> set[str]:
    """Return the names and attributes that hold an object of such a class."""
    return {
        last_name(target)
        for one in analysis.nodes.get(ast.Assign, ())
        if isinstance(one, ast.Assign) and isinstance(one.value, ast.Call) and isinstance(one.value.func, ast.Name)
        if one.value.func.id in classes and one.value.func.id[0].isupper()
        for target in one.targets
        if isinstance(target, ast.Name | ast.Attribute)
    }


def _kind(node: ast.expr) -> str:
    """Say whether an expression is called a prediction or a target."""
    if isinstance(node, ast.Call):
        inner = [node.func.value] if isinstance(node.func, ast.Attribute) else []
        kinds = {_kind(one) for one in (*inner, *node.args[:1])} - {""}
        return kinds.pop() if len(kinds) == 1 else ""
    key = ""
    while isinstance(node, ast.Subscript):
        key = node.slice.value if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str) else key
        node = node.value
    name = (key or (node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", ""))).lower()
    predicted, true = bool(_PREDICTED.search(name)), bool(_TRUE.search(name))
    return "" if predicted == true else "prediction" if predicted else "target"
