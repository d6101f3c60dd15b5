"""`topk` of distances takes the largest: the farthest, not the nearest.

What it finds:
    `dist.topk(k)` without `largest=False`, where what it is taken of is called a distance and what comes out
    neighbours, nearest or closest; and `similarity.topk(k, largest=False)` for the same names.

Why:
    `topk` takes the largest unless it is told otherwise. A graph of farthest points, or a vote of the least similar
    ones, trains and evaluates without an error.

How sure:
    By the names of both. Distances that were negated, inverted or turned into similarities have another name or a sign
    in front, and are left alone.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import arguments_after_subject, called, followed, integer, scope_of, subject
from trainworthy.check.static.tree import nodes_of, unparsed

BAD = """\
import torch


def graph(x, k):
    dist = torch.cdist(x, x)
    neighbors = dist.topk(k, dim=-1).indices  # <- TW235
    return neighbors
"""
GOOD = BAD.replace("dim=-1).indices  # <- TW235", "dim=-1, largest=False).indices")

_DISTANCE = re.compile(r"(^|_)(dists?|distances?|cdist|pdist|distmat|sq_?dists?)($|_)", re.IGNORECASE)
_SIMILARITY = re.compile(r"(^|_)(sims?|similarit(y|ies)|cosine)($|_)", re.IGNORECASE)
_NEAR = re.compile(r"(^|_)(k?nn|nbr?s?|nbhd|neigh\w*|near\w*|clos\w*)($|_)", re.IGNORECASE)
_FAR = re.compile(r"far|hard|max|worst|least|dissim|outlier|anomal|neg_|novel", re.IGNORECASE)


@rule(code="TW235", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at calls of ``topk``."""
    if "topk" not in analysis.source.words:
        return
    for call in analysis.nodes.get(ast.Call, ()):
        if not isinstance(call, ast.Call) or called(call) != "topk":
            continue
        on, statement = subject(call), _statement(analysis, call)
        largest = _largest(call)
        if on is None or largest is None or not isinstance(on, ast.Name | ast.Attribute) or statement is None:
            continue
        name, scope = getattr(on, "attr", getattr(on, "id", "")), scope_of(call, analysis.parents)
        made = " ".join(unparsed(one) for one in statement.targets)
        around = getattr(scope, "name", "")
        if not _any(_NEAR, made) or _FAR.search(f"{made} {around}") or _is_negated(on, scope):
            continue
        kind = _DISTANCE if largest else _SIMILARITY
        other = _SIMILARITY if largest else _DISTANCE
        if _any(kind, name) and not _any(other, name):
            yield Hit(
                place=analysis.place(call),
                message=f"`{name}.topk` takes the {'largest' if largest else 'smallest'}, "
                f"and `{made}` are to be the {'nearest' if largest else 'most similar'}",
                fix="Write `largest=False`." if largest else "Leave `largest=False` out.",
            )


def _any(pattern: re.Pattern[str], text: str) -> bool:
    return any(pattern.search(one) for one in re.findall(r"\w+", text))


def _statement(analysis: Analysis, node: ast.AST) -> ast.Assign | None:
    while node in analysis.parents and not isinstance(node, ast.stmt):
        node = analysis.parents[node]
    return node if isinstance(node, ast.Assign) else None


def _largest(call: ast.Call) -> bool | None:
    """Say whether the largest are taken; None if that is not written as a constant."""
    given = next((one.value for one in call.keywords if one.arg == "largest"), None)
    rest = arguments_after_subject(call)
    given = given if given is not None else (rest[2] if len(rest) > 2 else None)
    if any(one.arg is None for one in call.keywords):
        return None
    if given is None:
        return True
    return given.value if isinstance(given, ast.Constant) and isinstance(given.value, bool) else None


def _is_axis(sign: ast.UnaryOp, made: ast.expr) -> bool:
    """Say whether a negative number is an argument of a call: an axis."""
    calls = (one for one in nodes_of(made, ast.Call))
    return any(sign in [*one.args, *(each.value for each in one.keywords)] and integer(sign) for one in calls)


def _is_negated(on: ast.expr, scope: ast.AST) -> bool:
    """Say whether what a name was given has a sign, or is the inverse or an exponential of something."""
    made = followed(on, scope)
    if made is on:
        return False
    signs = (one for one in nodes_of(made, ast.UnaryOp) if isinstance(one.op, ast.USub))
    if any(not _is_axis(one, made) for one in signs):
        return True
    return re.search(r"\bexp\(|neg\(|1(\.0)?\s*/|1(\.0)? -|sim", unparsed(made)) is not None
