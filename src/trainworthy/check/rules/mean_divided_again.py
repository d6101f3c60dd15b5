"""A loss that is a mean over the batch is divided by the number of samples once more.

What it finds:
    `loss = cross_entropy(model(x), y) / len(x)`, or `loss /= x.size(0)`, with a loss that averages already; in real
    steps also any other way to write it, by the graph: a mean, divided by a number that is the batch's size, in a
    program that makes a step after each backward pass.

Why:
    Gradients are smaller by the size of the batch. Adam hides that, plain SGD then learns as with a learning rate that
    is 32 or 256 times too small, a term beside others counts for nothing, and clipping never clips. What is reported
    compares with nothing, and shrinks if the batch grows.

How sure:
    In the source: sure if the loss is one of torch's with its default reduction, or `mean()`, and what it is divided by
    is the length of what went into it, as a whole. In real steps the number may be that of the batch by chance: those
    below 5, and 10, 100 and 1000, are left alone.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called, followed, last_given, scope_of
from trainworthy.check.static.batch_means import is_batch_mean, stripped
from trainworthy.check.static.tree import nodes_of, unparsed, walk

BAD = """\
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(4):
    x, y = torch.randn(16, 4), torch.randint(3, (16,))
    loss = F.cross_entropy(model(x), y) / x.size(0)  # <- TW227
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = BAD.replace(" / x.size(0)  # <- TW227", "")
_FIX = "Leave the division out, or give the loss `reduction='sum'`."
_SUMS = frozenset({"sum", "matmul", "mm", "bmm", "mv", "dot", "einsum"})
_DEPTH = 3  # from a loss to what the model was given


@rule(code="TW227", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at divisions by the length of something."""
    if "torch" not in analysis.source.words:
        return
    for quotient in [*analysis.nodes.get(ast.BinOp, ()), *analysis.nodes.get(ast.AugAssign, ())]:
        if not isinstance(quotient, ast.BinOp | ast.AugAssign) or not isinstance(quotient.op, ast.Div):
            continue
        counted = _counted(quotient.right if isinstance(quotient, ast.BinOp) else quotient.value)
        if counted is None or isinstance(analysis.parents.get(quotient), ast.BinOp):
            continue
        scope = scope_of(quotient, analysis.parents)
        loss = _loss(quotient, scope)
        if loss is None or _adds_up(loss):
            continue
        if _is_made_of(loss, counted, scope) and is_batch_mean(analysis, scope, loss):
            yield Hit(
                place=analysis.place(quotient),
                message=f"the loss is a mean already, and is divided by the number of samples, `{counted}`, once more",
                fix=_FIX,
            )


@rule(code="TW227", severity="warning", depth="live")
def find_live(facts: LiveFacts) -> Iterator[Hit]:
    """Yield one finding for each line that divides; not if steps wait for several backward passes."""
    if any(step.backwards > 1 for step in facts.steps):
        return
    for place in dict.fromkeys(fact.place for fact in facts.divided_means):
        fact = next(one for one in facts.divided_means if one.place == place)
        yield Hit(
            place=place,
            message=f"the loss is a mean over the batch already, and is divided by its size, {fact.batch}, once more",
            evidence=(Evidence("the mean is taken here", fact.mean),) if fact.mean != place else (),
            fix=_FIX,
        )


def _counted(node: ast.expr) -> str | None:
    """Return the name whose length is taken: ``x`` of ``len(x)``, ``x.size(0)`` and ``x.shape[0]``."""
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("float", "int") and len(node.args) == 1:
        node = node.args[0]
    of: ast.expr | None = None
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "len" and len(node.args) == 1:
        of = node.args[0]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "size":
        of = node.func.value if [unparsed(one) for one in node.args] == ["0"] else None
    elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Attribute) and node.value.attr == "shape":
        of = node.value.value if unparsed(node.slice) == "0" else None
    return of.id if isinstance(of, ast.Name) else None


def _loss(quotient: ast.BinOp | ast.AugAssign, scope: ast.AST) -> ast.expr | None:
    """Return what is divided; for a name, what it was given last."""
    if isinstance(quotient, ast.BinOp):
        return stripped(followed(stripped(quotient.left), scope))
    name = getattr(quotient.target, "id", "")
    given = last_given(scope, name, quotient.lineno)
    return stripped(given) if given is not None else None


def _adds_up(loss: ast.expr) -> bool:
    """Say whether something in a loss is summed before the mean, perhaps over the samples."""
    products = any(isinstance(one, ast.BinOp) and isinstance(one.op, ast.MatMult) for one in walk(loss))
    return products or any(isinstance(one, ast.Call) and called(one) in _SUMS for one in walk(loss))


def _is_made_of(loss: ast.expr, name: str, scope: ast.AST, depth: int = _DEPTH) -> bool:
    """Say whether something of that name, as a whole, goes into a loss, by way of some names."""
    parts = {id(one.value) for one in nodes_of(loss, ast.Subscript)}
    for one in [one for one in nodes_of(loss, ast.Name) if id(one) not in parts]:
        made = last_given(scope, one.id, one.lineno) if depth else None
        if one.id == name or (made is not None and _is_made_of(made, name, scope, depth - 1)):
            return True
    return False
