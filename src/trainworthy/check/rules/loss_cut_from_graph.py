"""Backward is called on a copy of the loss that has no graph.

What it finds:
    `torch.tensor(loss, requires_grad=True).backward()`, also through `Variable(loss.data, requires_grad=True)`.

Why:
    `requires_grad=True` quietens the error that a loss has no graph. The gradient ends at the copy; no parameter
    gets one.

How sure:
    The tensor that backward is called on is made in the same function by `torch.tensor`, from something that is not
    a literal.

In real steps:
    The graph of a loss holds no nn.Parameter, twice, and the optimizer steps all the same.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.values import Const, Sequence, Tensor

BAD = """\
import torch

model = torch.nn.Linear(4, 1)
value = model(torch.rand(8, 4)).mean()
loss = torch.tensor(value, requires_grad=True)
loss.backward()  # <- TW321
"""

GOOD = """\
import torch

model = torch.nn.Linear(4, 1)
loss = model(torch.rand(8, 4)).mean()
loss.backward()
x = torch.tensor(2.0, requires_grad=True)
(x * x).backward()
"""


@rule(code="TW321", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at what backward is called on."""
    for call in analysis.calls("torch.Tensor.backward"):
        owner = call.owner
        made = owner.made_by if isinstance(owner, Tensor) else None
        if made is None or made.name not in ("torch.tensor", "torch.as_tensor") or not made.args:
            continue
        if made.constant(None, "requires_grad") is not True or made.result is not owner:
            continue
        first = made.args[0]
        if isinstance(first, Const | Sequence):
            continue
        yield Hit(
            place=analysis.place(call.node, call.context),
            message="the loss is a copy without a graph, so no parameter gets a gradient",
            evidence=(Evidence("the copy is made here", analysis.place(made.node, made.context)),),
            fix="Call backward on the loss itself; do not wrap it in `torch.tensor`.",
        )


LIVE_BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for step in range(4):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)
    loss = torch.tensor(loss.item(), requires_grad=True)
    optimizer.zero_grad()
    loss.backward()  # <- TW321
    optimizer.step()
"""
LIVE_GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for step in range(4):
    x, y = torch.randn(8, 4, requires_grad=True), torch.randint(3, (8,))
    nn.functional.cross_entropy(model(x), y).backward()
    x.grad.norm()
    optimizer.step()
    optimizer.zero_grad()
"""


@rule(code="TW321", severity="error", depth="live")
def find_live(facts: LiveFacts) -> Iterator[Hit]:
    """Yield backward passes without a parameter before two steps."""
    parameters = {s.step for s in facts.steps if s.trainable and s.num_without_gradient == s.trainable}
    by_step: dict[int, list[bool]] = {}
    for b in facts.backwards:
        if b.reaches_parameter is not None:
            by_step.setdefault(b.step, []).append(b.reaches_parameter)
    empty = [n for n, reached in by_step.items() if not any(reached) and n in parameters]
    if len(empty) >= 2:
        first = next(b for b in facts.backwards if b.step == empty[0])
        yield Hit(
            place=first.place,
            message=f"The graph of this loss holds no nn.Parameter (in {len(empty)} steps): nothing can be "
            "learnt from it",
            evidence=(Evidence(f"{first.num_graph_nodes} nodes in the graph"),),
            fix="Do not rebuild the loss from numbers: no .item(), .detach(), torch.tensor(loss) on the way.",
        )
