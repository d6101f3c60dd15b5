"""Gradients are clipped while they are still scaled.

What it finds:
    `clip_grad_norm_` between `scaler.scale(loss).backward()` and `scaler.step`, without `scaler.unscale_`. Also
    gradients that are clipped by hand there: `p.grad.clamp_(...)`, `p.grad.mul_(limit / norm)`.

Why:
    Gradients are multiplied by the scale, 65,536 at first: nearly every step is clipped to a 65,536th of what was
    meant.

How sure:
    The scaler is a `GradScaler` of torch and `unscale_` occurs nowhere in the file or what it imports.

In real steps:
    A GradScaler that is enabled has scaled the loss, and gradients are clipped before scaler.unscale_(optimizer),
    twice or more.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import partial

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import last_given, scope_of
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import CLIPPERS, may_both_run, same_turn, scaler_calls
from trainworthy.check.static.tree import nodes_of, unparsed, walk

BAD = """\
import torch

model = torch.nn.Linear(4, 1).cuda()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scaler = torch.cuda.amp.GradScaler()
for x in torch.rand(10, 8, 4).cuda():
    optimizer.zero_grad()
    scaler.scale(model(x).mean()).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # <- TW209
    scaler.step(optimizer)
    scaler.update()
"""

GOOD = """\
import torch

model = torch.nn.Linear(4, 1).cuda()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scaler = torch.cuda.amp.GradScaler()
for x in torch.rand(10, 8, 4).cuda():
    optimizer.zero_grad()
    scaler.scale(model(x).mean()).backward()
    scaler.unscale_(optimizer)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()
"""


@rule(code="TW209", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at clips beside a scaled backward and the scaler's step."""
    if analysis.mentions("unscale_"):
        return
    scales = list(scaler_calls(analysis, "scale"))
    steps = list(scaler_calls(analysis, "step"))
    yield from _by_hand(analysis, scales, steps)
    for clip in analysis.calls(*CLIPPERS):
        before = [
            one
            for one in scales
            if one.at < clip.at and same_turn(one.context, clip.context) and may_both_run(one.context, clip.context)
        ]
        after = [one for one in steps if one.at > clip.at and _in_turn(one, clip)]
        if after:
            shown = before[0] if before else after[0]
            what = (
                "the loss is scaled here" if before else "the scaler takes the gradients here, and unscales them itself"
            )
            yield Hit(
                place=analysis.place(clip.node, clip.context),
                message="gradients are clipped while they are multiplied by the scale",
                evidence=(Evidence(what, analysis.place(shown.node, shown.context)),),
                fix="Call `scaler.unscale_(optimizer)` before clipping.",
            )


def _by_hand(analysis: Analysis, scales: list[Call], steps: list[Call]) -> Iterator[Hit]:
    """Yield gradients that are compared with a limit, element by element or by their norm, before a scaler's step."""
    if analysis.source.words & {"get_scale", "inv_scale", "_scale"}:
        return
    done: set[ast.AST] = set()
    for step in steps:
        loop = step.context.loops[-1] if step.context.loops else None
        before = [one for one in scales if loop in one.context.all_loops() and one.at < step.at]
        if loop is None or not before or step.context.source is not analysis.source:
            continue
        line = (
            before[0].node.lineno if before[0].context.function is step.context.function else getattr(loop, "lineno", 0)
        )
        for node in walk(loop):
            if line < getattr(node, "lineno", 0) < step.node.lineno and node not in done and _limits(analysis, node):
                done.add(node)
                yield Hit(
                    place=analysis.place(node),
                    message="gradients are clipped while they are multiplied by the scale",
                    evidence=(Evidence("the loss is scaled here", analysis.place(before[0].node, before[0].context)),),
                    fix="Call `scaler.unscale_(optimizer)` before clipping.",
                )


def _limits(analysis: Analysis, node: ast.AST) -> bool:
    """Say whether a node clips a gradient in place."""
    if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Mult) and _is_gradient(node.target):
        return _is_a_share(analysis, node, node.value)
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not _is_gradient(node.func.value):
        return False
    if node.func.attr in ("clamp_", "clip_"):
        return bool(node.args or node.keywords)
    return node.func.attr == "mul_" and len(node.args) == 1 and _is_a_share(analysis, node, node.args[0])


def _is_gradient(node: ast.expr) -> bool:
    return unparsed(node).removesuffix(".data").removesuffix(".detach()").endswith(".grad")


def _is_a_share(analysis: Analysis, node: ast.AST, factor: ast.expr) -> bool:
    """Say whether a factor is a limit divided by a norm of gradients, at most 1 or under a comparison."""
    text, scope, line = unparsed(factor), scope_of(node, analysis.parents), getattr(node, "lineno", 0)
    for _ in range(4):
        names = {one.id: last_given(scope, one.id, line) for one in nodes_of(ast.parse(text), ast.Name)}
        known = {name: f"({unparsed(value)})" for name, value in names.items() if value is not None}
        if not known:
            break
        text = re.sub(rf"(?<![.\w])({'|'.join(known)})\b(?!\s*=)", partial(_put_in, known), text)
        if len(text) > 2000:
            return False
    if "/" not in text or re.search(r"norm|\.grad\b", text.partition("/")[2]) is None:
        return False
    if re.search(r"norm|\.grad\b", text.partition("/")[0]) is not None:
        return False
    return re.search(r"\b(clamp|clip|min|minimum)_?\(", text) is not None or _is_compared(analysis, node)


def _put_in(known: dict[str, str], name: re.Match[str]) -> str:
    return known[name[1]]


def _is_compared(analysis: Analysis, node: ast.AST) -> bool:
    """Say whether a condition around compares a norm with a limit."""
    while node in analysis.parents and not isinstance(node, ast.FunctionDef):
        node = analysis.parents[node]
        if isinstance(node, ast.If) and isinstance(node.test, ast.Compare) and "norm" in unparsed(node.test).lower():
            return isinstance(node.test.ops[0], ast.Gt | ast.GtE)
    return False


def _in_turn(step: Call, clip: Call) -> bool:
    """Say whether a step follows in the same turn, or in a loop over optimizers within it."""
    loops = clip.context.loops
    return (
        step.context.function is clip.context.function
        and step.context.loops[: len(loops)] == loops
        and (step.context.callers == clip.context.callers and may_both_run(step.context, clip.context))
    )


LIVE_BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
for step in range(4):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # <- TW209
    scaler.step(optimizer)
    scaler.update()
"""
LIVE_GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
for step in range(4):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()
"""


@rule(code="TW209", severity="error", depth="live")
def find_live(facts: LiveFacts) -> Iterator[Hit]:
    """Yield lines that clip too early twice."""
    for place in dict.fromkeys(c.place for c in facts.clips):
        calls = [c for c in facts.clips if c.place == place]
        if len(calls) >= 2 and all(c.before_unscale for c in calls):
            yield Hit(
                place=place,
                message=f"{calls[0].function} clips gradients that GradScaler has scaled and nobody has unscaled",
                evidence=(Evidence(f"{len(calls)} calls"),),
                fix="scaler.unscale_(optimizer) before clipping.",
            )
