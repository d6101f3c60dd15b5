"""With gradient accumulation, the optimizer steps after the first micro-batch, or at all but the last.

What it finds:
    `if step % gradient_accumulation_steps == 0: optimizer.step()`, where `step` comes from `enumerate`, or is the index
    that Lightning gives `training_step`, and starts at 0; and the same test the wrong way round, which steps at every
    other micro-batch.

Why:
    The first update is made of one micro-batch, divided as if it were several, and every later one mixes the last of
    one group with the next; at the end of the epoch, gradients are left over.

How sure:
    The counter comes from `enumerate` without a start, or from Lightning, is not changed, and the number's name says
    that it counts micro-batches. Both branches are read.

When it is wrong:
    The loss is not divided, and the first step being smaller does not matter.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import counts
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import body_of, once_per_place, optimizer_steps, receiver
from trainworthy.check.static.tree import walk

BAD = """\
import torch

gradient_accumulation_steps = 4
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step, batch in enumerate(torch.rand(100, 8, 4)):
    (model(batch).mean() / gradient_accumulation_steps).backward()
    if step % gradient_accumulation_steps == 0:
        optimizer.step()  # <- TW344
        optimizer.zero_grad()
"""

GOOD = """\
import torch

gradient_accumulation_steps = 4
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step, batch in enumerate(torch.rand(100, 8, 4)):
    (model(batch).mean() / gradient_accumulation_steps).backward()
    if (step + 1) % gradient_accumulation_steps == 0:
        optimizer.step()
        optimizer.zero_grad()
"""


@rule(code="TW344", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the conditions of steps."""
    named = (one for one in analysis.method_calls("step") if re.search(r"(^|[._])opt\w*$", receiver(one)))
    for step in once_per_place(iter([*optimizer_steps(analysis), *named])):
        counters = _counters_from_zero(step)
        for test, truth in step.context.branches:
            remainder = _remainder(test, counters)
            if remainder is None:
                continue
            equal, left = remainder
            first = equal == truth and left == 0
            all_but_one = equal != truth
            if first or (all_but_one and left == 0):
                what = (
                    "the first step comes after one micro-batch"
                    if first
                    else "it steps at every micro-batch but the first"
                )
                yield Hit(
                    place=analysis.place(step.node, step.context),
                    message=f"{what}: the counter starts at 0",
                    evidence=(Evidence("the condition is here", analysis.place(test, step.context)),),
                    fix="Write `(step + 1) % count == 0`.",
                )
                break


def _counters_from_zero(step: Call) -> set[str]:
    """Return the names that `enumerate`, or Lightning, counts with from 0 around a step, unless they are changed."""
    found: set[str] = set()
    function = step.context.function
    if function is not None and function.name == "training_step" and function.owner is not None:
        arguments = function.node.args.args
        found |= {one.arg for one in arguments[2:3]} & {"batch_idx", "batch_index", "batch_nb"}
    for loop in step.context.loops:
        if (
            not isinstance(loop, ast.For)
            or not isinstance(loop.iter, ast.Call)
            or not isinstance(loop.target, ast.Tuple)
        ):
            continue
        if getattr(loop.iter.func, "id", "") == "enumerate" and len(loop.iter.args) == 1 and not loop.iter.keywords:
            first = loop.target.elts[0]
            if isinstance(first, ast.Name):
                found.add(first.id)
    changed = {
        target.id
        for node in walk(body_of(step.context))
        if isinstance(node, ast.Assign | ast.AugAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    return found - changed


def _remainder(test: ast.expr, counters: set[str]) -> tuple[bool, object] | None:
    """Read ``counter % count == 0`` alone or in an ``or``: whether it asks for equality, and with what."""
    parts = test.values if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.Or) else [test]
    for part in parts:
        if not isinstance(part, ast.Compare) or len(part.ops) != 1 or not isinstance(part.ops[0], ast.Eq | ast.NotEq):
            continue
        left, right = part.left, part.comparators[0]
        if (
            isinstance(left, ast.BinOp)
            and isinstance(left.op, ast.Mod)
            and isinstance(left.left, ast.Name)
            and left.left.id in counters
            and any(True for _ in counts(left.right))
            and isinstance(right, ast.Constant)
        ):
            return isinstance(part.ops[0], ast.Eq), right.value
    return None
