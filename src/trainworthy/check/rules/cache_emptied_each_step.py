"""The allocator's cache is emptied in every training step.

What it finds:
    `torch.cuda.empty_cache()` in the same loop body as the step of an optimizer.

Why:
    Each call waits for the GPU and gives memory back that the next step must allocate again, with cudaMalloc.

How sure:
    A hint; under a condition (every n-th step), or after an error, it is not reported.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import always_with, once_per_place, optimizer_steps, same_turn

BAD = """\
import torch

model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x in torch.rand(10, 8, 4):
    optimizer.zero_grad()
    model(x).mean().backward()
    optimizer.step()
    torch.cuda.empty_cache()  # <- TW704
"""

GOOD = """\
import torch

model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x in torch.rand(10, 8, 4):
    optimizer.zero_grad()
    model(x).mean().backward()
    optimizer.step()
torch.cuda.empty_cache()
"""


@rule(code="TW704", severity="hint")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at loops that step."""
    steps = list(optimizer_steps(analysis))
    for call in once_per_place(analysis.calls("torch.cuda.empty_cache")):
        if _after_an_error(analysis, call):
            continue
        if call.context.loops and any(
            same_turn(call.context, one.context) and always_with(call.context, one.context) for one in steps
        ):
            yield Hit(
                place=analysis.place(call.node, call.context),
                message="the cache is emptied in every step",
                fix="Leave it to the allocator.",
            )


def _after_an_error(analysis: Analysis, call: Call) -> bool:
    """Say whether it stands where an error is dealt with."""
    node: ast.AST | None = call.node
    while node is not None and not isinstance(node, ast.ExceptHandler):
        node = analysis.parents.get(node)
    return node is not None
