"""A squeeze without an axis also drops the batch, time or action axis when its size is one.

What it finds:
    `torch.stack(values).squeeze()`, `self.head(x).squeeze()` where the head ends with `Linear(..., 1)`, a squeezed
    tensor that is scattered along an axis, and `model(x).squeeze()` that goes into a loss in a loop over a loader whose
    last batch may be small.

Why:
    `squeeze()` drops every axis of size one: with one sample left over in the last batch, one step, one atom or one
    action there is an axis too few, and losses, sums over an axis and stored values mean something else.

How sure:
    The axis that is meant is known, or the code after it relies on the axes that stay. Whether another axis ever has
    size one is not seen here: a hint. A rehearsal with other sizes says it for sure (TW160).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import arguments_after_subject, called, followed, keyword, scope_of, subject
from trainworthy.check.static.tree import nodes_of, unparsed, walk

BAD = """\
import torch


def update(policy, memory):
    states = torch.stack(memory.states).squeeze()  # <- TW168
    return policy(states)
"""

GOOD = """\
import torch


def update(policy, memory):
    states = torch.stack(memory.states).squeeze(1)
    return policy(states)
"""

_SAME = frozenset({"to", "cuda", "cpu", "detach", "float", "contiguous", "sigmoid", "clone", "double", "half"})
_ALONG = ("scatter", "scatter_sum", "scatter_add", "scatter_mean", "index_add", "segment_sum", "scatter_add_")


@rule(code="TW168", severity="hint")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at squeezes without arguments."""
    if "squeeze" not in analysis.source.words or "torch" not in analysis.source.words:
        return
    for node in analysis.nodes.get(ast.Call, ()):
        if not isinstance(node, ast.Call) or called(node) != "squeeze" or not _is_of_torch(node):
            continue
        of = subject(node)
        if of is None or arguments_after_subject(node) or node.keywords:
            continue
        scope = scope_of(node, analysis.parents)
        why = (
            _grown(of, scope)
            or _last_of_one(of, scope, analysis)
            or _relied_upon(node, analysis)
            or _is_compared(node, scope, analysis)
        )
        if why:
            yield Hit(
                place=analysis.place(node),
                message=f"every axis of size one is dropped, {why}",
                fix="Name the axis: `squeeze(-1)`.",
            )


def _is_of_torch(node: ast.Call) -> bool:
    return not unparsed(node.func).startswith(("np.", "numpy.", "jnp.", "tf.", "mx."))


def _through(node: ast.expr, scope: ast.AST) -> ast.expr:
    """Look through names and what keeps the shape."""
    for _ in range(6):
        node = followed(node, scope, 1)
        inner = subject(node) if isinstance(node, ast.Call) and called(node) in _SAME else None
        if inner is None:
            break
        node = inner
    return node


def _grown(of: ast.expr, scope: ast.AST) -> str:
    """Say that the squeezed tensor is made of a list whose length is that of its first axis."""
    made = _through(of, scope)
    if not isinstance(made, ast.Call) or called(made) != "stack" or not made.args:
        return ""
    if not unparsed(made.func).startswith(("torch.", "th.")) or not isinstance(made.args[0], ast.Name | ast.Attribute):
        return ""
    axis = keyword(made, "dim", "axis") or (made.args[1] if len(made.args) > 1 else None)
    if axis is not None and unparsed(axis) != "0":
        return ""
    return "the first as well if the list has one element"


def _last_of_one(of: ast.expr, scope: ast.AST, analysis: Analysis) -> str:
    """Say that the squeezed tensor is what a layer with one output gives: its last axis is meant."""
    made = _through(of, scope)
    func = made.func if isinstance(made, ast.Call) else None
    cls = analysis.parents.get(scope)
    if (
        not isinstance(func, ast.Attribute)
        or getattr(func.value, "id", "") != "self"
        or not isinstance(cls, ast.ClassDef)
    ):
        return ""
    ends = [
        _ends_in_one(one.value) for one in nodes_of(cls, ast.Assign) if unparsed(one.targets[0]) == f"self.{func.attr}"
    ]
    return "the batch's as well if one sample is left over" if ends and all(ends) else ""


def _ends_in_one(node: ast.expr) -> bool:
    """Say whether a layer's last axis, or a convolution's channels, have size one; or an initialised such layer's."""
    if not isinstance(node, ast.Call):
        return False
    if called(node) == "Sequential" and node.args:
        last = node.args[-1]
        if called(last) in ("Sigmoid", "Tanh", "Softplus", "ReLU") and len(node.args) > 1:
            last = node.args[-2]
        return _ends_in_one(last)
    size = keyword(node, "out_features", "out_channels") or (node.args[1] if len(node.args) > 1 else None)
    if called(node) in ("Linear", "LazyLinear", "Conv1d", "Conv2d"):
        return isinstance(size, ast.Constant) and size.value == 1
    return "init" in called(node) and bool(node.args) and _ends_in_one(node.args[0])


def _relied_upon(node: ast.Call, analysis: Analysis) -> str:
    """Say that what follows counts the axes that stay."""
    parents = analysis.parents
    around = parents.get(node)
    scope = scope_of(node, parents)
    uses: list[ast.AST] = [node]
    if isinstance(around, ast.Assign) and isinstance(around.targets[0], ast.Name):
        name = around.targets[0].id
        uses = [
            one
            for one in nodes_of(scope, ast.Name)
            if one.id == name
            and isinstance(one.ctx, ast.Load)
            and one.lineno > node.lineno
            and followed(one, scope, 1) is node
        ]
    return next((why for one in uses if (why := _counts_axes(one, parents))), "")


def _counts_axes(use: ast.AST, parents: dict[ast.AST, ast.AST]) -> str:
    around = parents.get(use)
    call = parents.get(around) if isinstance(around, ast.keyword | ast.Attribute) else around
    if not isinstance(call, ast.Call) or (isinstance(around, ast.Attribute) and call.func is not around):
        return ""
    axis = keyword(call, "dim", "axis")
    if called(call) in _ALONG and (use in call.args or isinstance(around, ast.keyword)) and axis is not None:
        return f"and `{called(call)}` goes along an axis of what is left"
    return ""


_LOSSES = re.compile(r"(?:^|_)(?:loss|criterion|crit|mse|bce|cross_entropy|l1)|loss(?:_fn|_func|_f)?$", re.IGNORECASE)


def _is_compared(node: ast.Call, scope: ast.AST, analysis: Analysis) -> str:
    """Say that the squeezed output of a model goes into a loss, in a loop over a loader whose last batch may be one."""
    if "drop_last" in analysis.source.words or not _in_a_loader_loop(node, analysis.parents):
        return ""
    made = _through(node.func.value, scope) if isinstance(node.func, ast.Attribute) else node
    if not isinstance(made, ast.Call) or not re.search(r"(?:^|[._])(?:model|net)\d?$", unparsed(made.func).lower()):
        return ""
    around = analysis.parents.get(node)
    uses: list[ast.AST] = [node]
    if isinstance(around, ast.Assign) and isinstance(around.targets[0], ast.Name):
        uses = [
            one
            for one in nodes_of(scope, ast.Name)
            if one.id == around.targets[0].id and isinstance(one.ctx, ast.Load) and followed(one, scope, 1) is node
        ]
    for use in uses:
        call = analysis.parents.get(use)
        if isinstance(call, ast.Call) and use in call.args and _LOSSES.search(called(call)) and len(call.args) > 1:
            return "the batch's as well if one sample is left over"
    return ""


def _in_a_loader_loop(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    """Say whether a loop over batches of a loader, with a backward pass, is around."""
    while node in parents and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        node = parents[node]
        if isinstance(node, ast.For) and "loader" in unparsed(node.iter).lower():
            return any(called(one) == "backward" for one in walk(node))
    return False
