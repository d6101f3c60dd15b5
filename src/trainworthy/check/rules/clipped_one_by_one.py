"""Gradients are clipped by the norm of each parameter instead of the norm of all.

What it finds:
    `clip_grad_norm_(p, 1.0)` in a loop over a model's or an optimizer's parameters.

Why:
    Each parameter is scaled by a factor of its own: the step points elsewhere than the gradient, and the bound that was
    chosen for the whole model holds for each of its tensors.

How sure:
    The loop's variable is what is clipped, and it runs over `parameters()`, `named_parameters()` or the `"params"` of a
    group. Some recipes clip so on purpose: silent where a name or a comment says that it is for each parameter, and
    within optimizers themselves.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import function_around
from trainworthy.check.static.tree import nodes_of, unparsed, walk

BAD = """\
import torch


def step(model, optimizer, loss):
    loss.backward()
    for p in model.parameters():
        torch.nn.utils.clip_grad_norm_(p, 1.0)  # <- TW398
    optimizer.step()
"""

GOOD = """\
import torch


def step(model, optimizer, loss):
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
"""

_PURPOSE = re.compile(
    r"(per|each|every|single|individual)[ _-]?(layer|param|tensor|weight)|(param|layer|tensor)[ _-]?wise", re.IGNORECASE
)


@rule(code="TW398", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at clips within loops over parameters."""
    if analysis.source.words.isdisjoint({"clip_grad_norm_", "clip_grad_norm"}):
        return
    for loop in analysis.nodes.get(ast.For, []):
        if not isinstance(loop, ast.For) or not _is_of_parameters(loop.iter):
            continue
        own = {one.id for one in nodes_of(loop.target, ast.Name)}
        for call in walk(loop):
            if isinstance(call, ast.Call) and _clips_one(call, own) and not _on_purpose(analysis, loop):
                yield Hit(
                    place=analysis.place(call),
                    message="each parameter is clipped by its own norm",
                    fix="Clip all at once, without the loop: `clip_grad_norm_(model.parameters(), ...)`.",
                )


def _is_of_parameters(value: ast.expr) -> bool:
    """Say whether a loop runs over single parameters."""
    while isinstance(value, ast.Call) and getattr(value.func, "id", "") in ("list", "enumerate", "tuple", "filter"):
        if not value.args:
            return False
        value = value.args[-1]
    if isinstance(value, ast.Call):
        return getattr(value.func, "attr", "") in ("parameters", "named_parameters")
    return isinstance(value, ast.Subscript) and getattr(value.slice, "value", "") == "params"


def _clips_one(call: ast.Call, own: set[str]) -> bool:
    if getattr(call.func, "attr", getattr(call.func, "id", "")) not in ("clip_grad_norm_", "clip_grad_norm"):
        return False
    given = call.args[0] if call.args else None
    if isinstance(given, ast.List | ast.Tuple) and len(given.elts) == 1:
        given = given.elts[0]
    return isinstance(given, ast.Name) and given.id in own


def _on_purpose(analysis: Analysis, loop: ast.For) -> bool:
    """Say whether a name or a comment says that each is clipped by itself, or an optimizer does it."""
    node: ast.AST = loop
    while node in analysis.parents:
        node = analysis.parents[node]
        if isinstance(node, ast.ClassDef) and any("optim" in unparsed(one).lower() for one in node.bases):
            return True
    around = function_around(analysis.parents, loop)
    first = around.lineno if around is not None else max(loop.lineno - 3, 1)
    lines = analysis.source.text.splitlines()[first - 1 : loop.end_lineno]
    return _PURPOSE.search("\n".join(lines)) is not None
