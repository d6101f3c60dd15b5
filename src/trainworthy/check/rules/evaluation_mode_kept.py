"""A training loop goes on in evaluation mode.

What it finds:
    `model.eval()` inside the loop over epochs that also trains, in a program that never calls `model.train()`.

Why:
    From the second epoch on, dropout is off and batch norm uses its running statistics.

How sure:
    Neither `.train(` nor another way back occurs in the file or what it imports.

In real steps:
    Three steps in a row whose forward pass has gradients while the model, which has dropout or BatchNorm, is in
    evaluation mode, after earlier steps in training mode.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.external import is_module
from trainworthy.check.static.facts import LoopNode
from trainworthy.check.static.queries import once_per_place
from trainworthy.check.static.values import Instance, Parameters

BAD = """\
import torch

model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Dropout(0.5))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(3):
    for x in torch.rand(10, 8, 4):
        optimizer.zero_grad()
        model(x).mean().backward()
        optimizer.step()
    model.eval()  # <- TW313
    with torch.no_grad():
        print(model(torch.rand(8, 4)).mean())
"""

GOOD = """\
import torch

model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Dropout(0.5))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(3):
    model.train()
    for x in torch.rand(10, 8, 4):
        optimizer.zero_grad()
        model(x).mean().backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        print(model(torch.rand(8, 4)).mean())
"""


@rule(code="TW313", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at eval() of the model whose optimizer steps in the same loop."""
    trained = {}
    for step in analysis.method_calls("step"):
        made = step.owner.made_by if isinstance(step.owner, Instance) else None
        first = made.argument(0, "params") if made is not None else None
        if isinstance(first, Parameters):
            trained[id(first.owner)] = step
    if not trained:
        return
    for call in once_per_place(analysis.method_calls("eval")):
        if not is_module(call.owner) or id(call.owner) not in trained or call.context.under("torch.jit"):
            continue
        step = trained[id(call.owner)]
        shared = set(call.context.all_loops()) & set(step.context.all_loops())
        if shared and call.at > step.at and not _goes_back(analysis, shared):
            yield Hit(
                place=analysis.place(call.node, call.context),
                message="the next turn of the loop trains in evaluation mode",
                evidence=(Evidence("it is trained here", analysis.place(step.node, step.context)),),
                fix="Call `model.train()` before training goes on.",
            )


def _goes_back(analysis: Analysis, loops: set[LoopNode]) -> bool:
    """Say whether anything may put a model back into training mode within the loops; what is not followed may."""
    calls = list(analysis.method_calls("train"))
    written = sum(len(_TRAIN.findall(source.code)) for source in analysis.sources)
    if any(_SET.search(source.code) for source in analysis.sources) or len({one.node for one in calls}) < written:
        return True
    return any(loops & set(one.context.all_loops()) for one in calls)


_TRAIN, _SET = re.compile(r"\.train\("), re.compile(r"\.training\s*=[^=]|\bsetattr\(")


LIVE_BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def train(steps):
    for step in range(steps):
        x, y = torch.randn(8, 4), torch.randint(3, (8,))
        loss = nn.functional.cross_entropy(model(x), y)  # <- TW313
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()



train(4)
model.eval()
with torch.no_grad():
    model(torch.randn(8, 4))
train(4)
"""
LIVE_GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def train(steps):
    for step in range(steps):
        x, y = torch.randn(8, 4), torch.randint(3, (8,))
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()



train(4)
model.eval()
with torch.no_grad():
    model(torch.randn(8, 4))
model.train()
train(4)
"""


@rule(code="TW313", severity="error", depth="live")
def find_live(facts: LiveFacts) -> Iterator[Hit]:
    """Yield models that changed from training to evaluation mode and trained on."""
    backward = {b.step for b in facts.backwards}
    for model in dict.fromkeys(f.model for f in facts.forwards):
        calls = [f for f in facts.forwards if f.model == model and f.grad and f.mode_layers and f.step in backward]
        trained = [f.step for f in calls if f.training]
        wrong = [f for f in calls if not f.training and trained and f.step > trained[0]]
        steps = sorted({f.step for f in wrong} - set(trained))
        if len(steps) >= 3 and steps == list(range(steps[0], steps[0] + len(steps))):
            first = wrong[0]
            yield Hit(
                place=first.place,
                message=f"{first.name} trains in evaluation mode since step {steps[0] + 1}; before, it was in training "
                f"mode. It has {' and '.join(first.mode_layers)}",
                evidence=(Evidence(f"{len(steps)} steps in a row"),),
                fix="model.train() at the beginning of each epoch.",
            )
