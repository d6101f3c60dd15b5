"""A loop over batches computes with the batch of another loop.

What it finds:
    `for x_val, labels_val in val_loader: loss = criterion(model(x_val), labels)`, where `labels` is what the training
    loop around or before calls its own.

Why:
    The validation loss compares predictions with the labels of the last training batch. The shapes agree.

How sure:
    The inner loop has a variable of the same name with `val`, `test` or `eval` added, the other name is bound by
    another loop only, and both go into one call or product.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import scope_of
from trainworthy.check.static.tree import nodes_of, unparsed, walk

BAD = """\
import torch


def train(model, criterion, optimizer, loader, val_loader):
    for images, labels in loader:
        optimizer.zero_grad()
        criterion(model(images), labels).backward()
        optimizer.step()
    with torch.no_grad():
        model.eval()
        for images_val, labels_val in val_loader:
            outputs = model(images_val)
            print(criterion(outputs, labels))  # <- TW513
"""

GOOD = """\
import torch


def train(model, criterion, optimizer, loader, val_loader):
    for images, labels in loader:
        optimizer.zero_grad()
        criterion(model(images), labels).backward()
        optimizer.step()
    with torch.no_grad():
        model.eval()
        for images_val, labels_val in val_loader:
            outputs = model(images_val)
            print(criterion(outputs, labels_val))
"""

_ADDED = re.compile(r"^(?:(?:val|valid|test|eval|v|t)_(?P<a>\w+)|(?P<b>\w+?)_?(?:val|valid|test|eval))$")


@rule(code="TW513", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at loops whose variables are called after those of others."""
    if "torch" not in analysis.source.words:
        return
    loops = [one for one in analysis.nodes.get(ast.For, []) if isinstance(one, ast.For)]
    bound = {loop: _targets(loop) for loop in loops}
    for loop in loops:
        for own in bound[loop]:
            match = _ADDED.match(own)
            name = (match["a"] or match["b"]) if match else None
            other = _bound_by_another(analysis, loops, bound, loop, name) if name and name not in bound[loop] else None
            read = _computed_with(loop, name) if name and other is not None else None
            if read is not None and other is not None:
                yield Hit(
                    place=analysis.place(read),
                    message=f"`{name}` is of another loop; this one has `{own}`",
                    evidence=(Evidence("it is bound here", analysis.place(other.target)),),
                    fix=f"Use `{own}`.",
                )


def _targets(loop: ast.For) -> set[str]:
    return {one.id for one in nodes_of(loop.target, ast.Name)}


def _bound_by_another(
    analysis: Analysis, loops: list[ast.For], bound: dict[ast.For, set[str]], loop: ast.For, name: str
) -> ast.For | None:
    """Return the loop that binds a name; None if anything else in this one does, or before it."""
    for one in walk(loop):
        if isinstance(one, ast.Name) and one.id == name and isinstance(one.ctx, ast.Store):
            return None
    scope = scope_of(loop, analysis.parents)
    others = [
        one for one in loops if name in bound[one] and one is not loop and scope_of(one, analysis.parents) is scope
    ]
    return others[0] if others and others[0].lineno < loop.lineno else None


def _computed_with(loop: ast.For, name: str) -> ast.Name | None:
    """Return where a loss or metric within a loop gets a name, beside what the loop itself computes."""
    for call in walk(loop):
        called = unparsed(call.func).lower() if isinstance(call, ast.Call) else ""
        if isinstance(call, ast.Call) and re.search(r"loss|crit|metric|acc|entropy|score", called):
            given = [*call.args, *[one.value for one in call.keywords]]
            for one in given:
                inner = one.func.value if isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute) else one
                if isinstance(inner, ast.Name) and inner.id == name and len(given) > 1:
                    return inner
    return None
