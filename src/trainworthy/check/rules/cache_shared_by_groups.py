"""An optimizer keeps a step size that belongs to one group, and uses it for all.

What it finds:
    In the `step` of an optimizer, a value computed with `group["lr"]` and stored in a buffer of the optimizer itself
    (`buffered = self.buffer[state["step"] % 10]`, `buffered[2] = step_size`), from which it is read again.

Why:
    The buffer is filled by the first group and read by the others, which have reached the same step: they all move with
    the learning rate of the first. Groups for a backbone and a head, or without weight decay, are undone. A changed
    learning rate also comes late.

How sure:
    Sure for groups of different learning rates; with one group, or equal ones, it does not matter.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.tree import nodes_of, unparsed, walk

BAD = """\
import math

import torch


class Rectified(torch.optim.Optimizer):
    def __init__(self, params, lr=1e-3):
        self.buffer = [[None, None] for _ in range(10)]
        super().__init__(params, {"lr": lr})

    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                state["step"] = state.get("step", 0) + 1
                buffered = self.buffer[state["step"] % 10]
                if state["step"] == buffered[0]:
                    step_size = buffered[1]
                else:
                    buffered[0] = state["step"]
                    step_size = group["lr"] * math.sqrt(1 - 0.999 ** state["step"])
                    buffered[1] = step_size  # <- TW395
                p.data.add_(p.grad, alpha=-step_size)
"""
GOOD = (
    BAD.replace('group["lr"] * math', "math")
    .replace("  # <- TW395", "")
    .replace("-step_size", '-step_size * group["lr"]')
)
_LR = re.compile(r"\['lr'\]")


@rule(code="TW395", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at methods that go through the groups of an optimizer."""
    if "param_groups" not in analysis.source.words:
        return
    for step in analysis.nodes.get(ast.FunctionDef, ()):
        if not isinstance(step, ast.FunctionDef) or step.name != "step":
            continue
        for loop in walk(step):
            if isinstance(loop, ast.For) and unparsed(loop.iter) == "self.param_groups":
                yield from _in_loop(analysis, loop)


def _in_loop(analysis: Analysis, loop: ast.For) -> Iterator[Hit]:
    assigned = nodes_of(loop, ast.Assign)
    buffers = {name: one for one in assigned if (name := _buffer(one))}
    for store in assigned:
        target = store.targets[0]
        of = target.value.id if isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name) else ""
        if of in buffers and _has_rate(store.value, assigned) and _is_read(loop, target):
            yield Hit(
                place=analysis.place(store),
                message=f"`{unparsed(target)}` keeps the learning rate of one group, and all groups read it",
                evidence=(Evidence("the buffer is the optimizer's", analysis.place(buffers[of])),),
                fix="Keep what does not depend on the group, and multiply by `group['lr']` where it is used.",
            )


def _buffer(one: ast.Assign) -> str:
    """Return the name that is given a part of an attribute of the optimizer, other than its state; "" if none is."""
    value, target = one.value, one.targets[0]
    of = value.value if isinstance(value, ast.Subscript) else None
    if not isinstance(target, ast.Name) or not isinstance(of, ast.Attribute) or of.attr == "state":
        return ""
    return target.id if unparsed(of.value) == "self" else ""


def _has_rate(value: ast.expr, assigned: list[ast.Assign]) -> bool:
    """Say whether a value is computed with the learning rate of a group, at once or by way of its name."""
    if _LR.search(unparsed(value)):
        return True
    name = value.id if isinstance(value, ast.Name) else ""
    return any(
        _LR.search(unparsed(one.value)) is not None
        for one in assigned
        if name and any(getattr(target, "id", "") == name for target in one.targets)
    )


def _is_read(loop: ast.For, stored: ast.expr) -> bool:
    """Say whether what was stored is read again in the loop."""
    text = unparsed(stored)
    return any(
        isinstance(one, ast.Subscript) and isinstance(one.ctx, ast.Load) and unparsed(one) == text for one in walk(loop)
    )
