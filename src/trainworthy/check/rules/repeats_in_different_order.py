"""Inputs are repeated in one order and their targets in another.

What it finds:
    Two things that were unpacked together, `for x, y in loader` or `x, y = batch`; later one is repeated by
    `x.repeat(k, ...)` and the other by `y.repeat_interleave(k)`, with the same k.

Why:
    `repeat` gives a b a b, `repeat_interleave` gives a a b b: each input meets the target of another sample.

How sure:
    Two tensors of one sample that are repeated in different orders do not go together any more. Silent about tables of
    all pairs, which repeat one tensor both ways.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.tree import nodes_of, unparsed

BAD = """\
import torch

model = torch.nn.Linear(4, 2)
for x, y in [(torch.rand(8, 4), torch.zeros(8).long())]:
    x = x.repeat(3, 1)
    y = y.repeat_interleave(3)  # <- TW162
    loss = torch.nn.functional.cross_entropy(model(x), y)
"""

GOOD = """\
import torch

model = torch.nn.Linear(4, 2)
for x, y in [(torch.rand(8, 4), torch.zeros(8).long())]:
    x = x.repeat_interleave(3, dim=0)
    y = y.repeat_interleave(3, dim=0)
    loss = torch.nn.functional.cross_entropy(model(x), y)
    left, right = x.repeat(24, 1), x.repeat_interleave(24, dim=0)
"""

_NEAR = 12  # lines


@rule(code="TW162", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Compare how the parts of one sample are repeated."""
    if not {"repeat", "repeat_interleave"} <= analysis.source.words:
        return
    together = list(_unpacked(analysis))
    calls = [_repetition(one) for one in analysis.nodes.get(ast.Call, ())]
    known = [one for one in calls if one is not None]
    for node, name, method, count in known:
        if method != "repeat_interleave":
            continue
        for other, partner, kind, times in known:
            pair = {name, partner}
            near = kind == "repeat" and times == count and abs(other.lineno - node.lineno) <= _NEAR
            if near and len(pair) == 2 and any(pair <= names for names in together):
                yield Hit(
                    place=analysis.place(node),
                    message=f"`{name}` is repeated as a a b b, and `{partner}`, which belongs to it, as a b a b",
                    evidence=(Evidence(f"`{partner}.repeat` is here", analysis.place(other)),),
                    fix="Use `repeat_interleave(k, dim=0)` for both.",
                )
                break


def _unpacked(analysis: Analysis) -> Iterator[set[str]]:
    targets = [one.target for kind in (ast.For, ast.comprehension) for one in analysis.nodes.get(kind, ())]  # type: ignore[attr-defined]
    targets += [t for one in analysis.nodes.get(ast.Assign, ()) for t in getattr(one, "targets", ())]
    for target in targets:
        if isinstance(target, ast.Tuple):
            yield {one.id for one in nodes_of(target, ast.Name)}


def _repetition(node: ast.AST) -> tuple[ast.Call, str, str, str] | None:
    """Return the call, the name that is repeated, how, and how many times along the first axis."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not node.args:
        return None
    if node.func.attr not in ("repeat", "repeat_interleave") or not isinstance(node.func.value, ast.Name):
        return None
    first = node.args[0]
    if isinstance(first, ast.Tuple | ast.List) and first.elts:
        first = first.elts[0]
    if node.func.attr == "repeat_interleave" and not _first_axis(node):
        return None
    return node, node.func.value.id, node.func.attr, unparsed(first)


def _first_axis(node: ast.Call) -> bool:
    given = [one.value for one in node.keywords if one.arg == "dim"] or node.args[1:2]
    return not given or (isinstance(given[0], ast.Constant) and given[0].value == 0)
