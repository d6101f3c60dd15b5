"""Losses that are masked by padding and then averaged over all positions, padding included."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called, followed, keyword, scope_of, subject
from trainworthy.check.static.queries import is_a_test
from trainworthy.check.static.tree import unparsed

_PADDING = re.compile(
    r"(^|_)(non_?)?pad(ded|ding)?(_|$)|(attention|attn|seq|sequence|length|token|response|completion|prompt|answer|text|src|tgt)_?masks?$"
)
_MASK = re.compile(r"(^|_)masks?$")
_LOSS = re.compile(r"loss|error|(^|_)(ce|nll|mse|bce|td)(_|$)|cross_entropy")
_STEPS = re.compile(
    r"(?:->|#)\s*[\[(]\s*[Bb](?:atch(?:_size)?)?\s*,\s*(?:[TtLS]|seq_?len\w*|time|steps?|length)\s*[\])]\s*$"
)


def means_over_padding(analysis: Analysis) -> Iterator[tuple[ast.Call, str]]:
    """Yield ``(loss * mask).mean()`` with the name of the mask, where that is of padding."""
    if is_a_test(analysis.source) or "mean" not in analysis.source.words:
        return
    for node in analysis.nodes.get(ast.Call, ()):
        if not isinstance(node, ast.Call) or called(node) != "mean" or not _is_of_all(node):
            continue
        scope = scope_of(node, analysis.parents)
        product = subject(node)
        product = followed(product, scope) if product is not None else None
        if not isinstance(product, ast.BinOp) or not isinstance(product.op, ast.Mult):
            continue
        if _is_divided(analysis, node):
            continue
        for mask, loss in ((product.right, product.left), (product.left, product.right)):
            name = _name(mask)
            of_steps = _MASK.search(name) and ("token" in _name(loss) or _is_of_steps(analysis, loss))
            if _LOSS.search(_name(loss)) and (_PADDING.search(name) or of_steps):
                yield node, name
                break


def _is_of_all(node: ast.Call) -> bool:
    method = isinstance(node.func, ast.Attribute) and subject(node) is node.func.value
    return not node.keywords and len(node.args) == (0 if method else 1) and keyword(node, "dim") is None


def _is_divided(analysis: Analysis, node: ast.Call) -> bool:
    """Say whether a mean is put right afterwards: divided by the mean of the mask, or multiplied by a ratio."""
    above = analysis.parents.get(node)
    return isinstance(above, ast.BinOp) and "mask" in unparsed(above).replace(unparsed(node), "")


def _name(node: ast.expr) -> str:
    """Return the last part of a name, through casts and new axes: ``~mask.float()``, ``b["mask"]``, ``1 - mask``."""
    while isinstance(node, ast.Call | ast.Subscript | ast.UnaryOp | ast.BinOp):
        if isinstance(node, ast.UnaryOp):
            node = node.operand
        elif isinstance(node, ast.BinOp):
            if not isinstance(node.left, ast.Constant):
                return ""
            node = node.right  # 1 - mask
        elif isinstance(node, ast.Subscript):
            if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
                return node.slice.value.lower()
            node = node.value
        elif called(node) in ("sum", "mean", "size"):
            return ""  # a length is a weight, no mask
        elif isinstance(node.func, ast.Attribute) and called(node) not in ("cross_entropy", "mse_loss"):
            node = node.func.value
        else:
            return called(node).lower()
    return str(getattr(node, "attr", getattr(node, "id", ""))).lower()


def _is_of_steps(analysis: Analysis, loss: ast.expr) -> bool:
    """Say whether a comment beside or above what makes a loss gives its shape as samples and time steps."""
    value = followed(loss, scope_of(loss, analysis.parents))
    lines = analysis.source.lines
    first, last = value.lineno - 2, (value.end_lineno or value.lineno) - 1
    comments = [lines[last], lines[first] if first >= 0 and lines[first].lstrip().startswith("#") else ""]
    return any("#" in one and _STEPS.search(one.rstrip()) for one in comments)
