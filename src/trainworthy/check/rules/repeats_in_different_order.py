"""Inputs are repeated in one order and their targets in another.

What it finds:
    Two things that were unpacked together, `for x, y in loader` or `x, y = batch`; later one is repeated by
    `x.repeat(k, ...)` and the other by `y.repeat_interleave(k)`, with the same k. And tables of all pairs, two tensors
    side by side in a `cat`, each repeated as often as the other is long, but both in the same order. What a function
    makes of `x.repeat(k, 1)`, shaped back as `(len(x), k)`, which is the order of `repeat_interleave`, and the other
    way round.

Why:
    `repeat` gives a b a b, `repeat_interleave` gives a a b b: each input meets the target of another sample. In a
    table of all pairs one side has to be repeated each way, or most pairs never meet.

How sure:
    Two tensors of one sample that are repeated in different orders do not go together any more. Silent about tables of
    all pairs, which repeat one tensor both ways.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import followed, scope_of
from trainworthy.check.static.repeated_rows import counts_of, rows_repeated, shaped_in_other_order
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
    yield from _half_tables(analysis)
    for node, made, name in shaped_in_other_order(analysis):
        yield Hit(
            place=analysis.place(made),
            message=f"`{name}` is repeated in one order here, and its results are shaped back in the other",
            evidence=(Evidence("they are shaped back here", analysis.place(node)),),
            fix="`repeat_interleave(k, dim=0)` goes with `view(len(x), k)`, `repeat(k, 1)` with `view(k, len(x))`.",
        )
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


def _half_tables(analysis: Analysis) -> Iterator[Hit]:
    """Yield tables of all pairs whose two sides are repeated in the same order: most pairs never meet."""
    if not {"repeat", "repeat_interleave", "tile"} & analysis.source.words:
        return
    for call in nodes_of(analysis.source.tree, ast.Call):
        sides = (
            call.args[0] if call.args and last_name(call.func) in ("cat", "concat", "concatenate", "hstack") else None
        )
        if not isinstance(sides, ast.Tuple | ast.List) or len(sides.elts) != 2:
            continue
        scope = scope_of(call, analysis.parents)
        nodes = [followed(one, scope) for one in sides.elts]
        one, other = map(rows_repeated, nodes)
        if one is None or other is None or one.order != other.order:
            continue
        if one.times in counts_of(other.name, scope) or other.times in counts_of(one.name, scope):
            yield Hit(
                place=analysis.place(nodes[0]),
                evidence=(Evidence(f"`{other.name}` is repeated here", analysis.place(nodes[1])),),
                message=f"`{one.name}` and `{other.name}` are both repeated as {one.order}: most pairs never meet",
                fix="Repeat one by `repeat_interleave(len(other), dim=0)` and the other by `repeat(len(one), 1)`.",
            )


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
