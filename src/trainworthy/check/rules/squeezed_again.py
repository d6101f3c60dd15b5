"""An axis that a reduction took away is squeezed away once more.

What it finds:
    `scale = x.mean(dim=d)` and then `scale if keepdim else scale.squeeze(dim=d)`, or `scale.squeeze(d)`, where `d` is
    one variable.

Why:
    Without `keepdim=True` the axis is gone: what is kept has an axis too few and broadcasts along another one, and the
    squeeze takes the next axis if that has size one.

How sure:
    The axis is written as the same variable both times, and `keepdim` is not given.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import arguments_after_subject, called, followed, keyword, scope_of, subject
from trainworthy.check.static.tree import unparsed

BAD = """\
import torch


def scale(data, dim, keepdim):
    mean = data.abs().mean(dim=dim)
    return mean if keepdim else mean.squeeze(dim=dim)  # <- TW109
"""

GOOD = """\
import torch


def scale(data, dim, keepdim):
    mean = data.abs().mean(dim=dim, keepdim=True)
    return mean if keepdim else mean.squeeze(dim=dim)
"""

_REDUCTIONS = frozenset("mean sum amax amin prod std var norm logsumexp nanmean nansum median any all".split())


@rule(code="TW109", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at squeezes of a named axis."""
    if "squeeze" not in analysis.source.words or not analysis.source.words & _REDUCTIONS:
        return
    for node in analysis.nodes.get(ast.Call, ()):
        if not isinstance(node, ast.Call) or called(node) != "squeeze":
            continue
        of, axis = subject(node), _axis(node)
        if of is None or not isinstance(axis, ast.Name | ast.Attribute):
            continue
        made = followed(of, scope_of(node, analysis.parents))
        if not isinstance(made, ast.Call) or called(made) not in _REDUCTIONS:
            continue
        kept = keyword(made, "keepdim", "keepdims") is not None or any(one.arg is None for one in made.keywords)
        first = _axis(made)
        if not kept and first is not None and unparsed(first) == unparsed(axis) and len(made.args) < 3:
            yield Hit(
                place=analysis.place(node),
                message=f"`{called(made)}` without keepdim already took away the axis `{unparsed(axis)}`",
                evidence=(Evidence("it is reduced here", analysis.place(made)),),
                fix="Give the reduction `keepdim=True`.",
            )


def _axis(node: ast.Call) -> ast.expr | None:
    given = arguments_after_subject(node)
    return given[0] if given else keyword(node, "dim", "axis")
