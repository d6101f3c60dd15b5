"""A training loop goes on in evaluation mode.

What it finds:
    `model.eval()` inside of a loop that also trains the model, with no `train()` in that loop: it stands before it,
    or only in the loop around it, or nowhere. Also where a block of a turn evaluates, and the turn trains after it.

Why:
    From the next turn on, dropout is off and batch norm uses its running statistics.

How sure:
    An optimizer has the model's parameters, and nothing in the loop, called functions included, sets training mode or
    is named for it. Silent if the loop is left in that turn, if all turns of it either train or evaluate, or if the
    function that trains begins with `eval()` of the same model: then it is meant. A hint if all layers of the model
    are known, and the same in both modes.

In real steps:
    Three steps in a row whose forward pass has gradients while the model, which has dropout or BatchNorm, is in
    evaluation mode, after earlier steps in training mode.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit, Place
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.modes import kept_evaluation_modes
from trainworthy.check.static.without_modes import is_the_same_in_both_modes

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
    """Look at eval() of the model that the same loop trains."""
    for call, backward, model in kept_evaluation_modes(analysis):
        same = is_the_same_in_both_modes(model)
        yield Hit(
            place=analysis.place(call.node, call.context),
            message="the next turn of the loop trains in evaluation mode"
            + ("; the layers of this model are the same in both" if same else ""),
            severity="hint" if same else None,
            evidence=(Evidence("it is trained here", analysis.place(backward.node, backward.context)),),
            fix="Call `model.train()` before training goes on.",
        )


LIVE_BAD = """\
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
model.eval()  # <- TW313
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
    said: set[Place] = set()  # one line sets the mode of all parts of a model
    for model in dict.fromkeys(f.model for f in facts.forwards):
        calls = [f for f in facts.forwards if f.model == model and f.grad and f.mode_layers and f.step in backward]
        trained = [f.step for f in calls if f.training]
        wrong = [f for f in calls if not f.training and trained and f.step > trained[0]]
        steps = _longest_run(sorted({f.step for f in wrong} - set(trained)))
        if len(steps) >= 3 and _optimizers(facts, set(trained)) & _optimizers(facts, set(steps)):
            first = next(f for f in wrong if f.step == steps[0])
            place = first.mode_set_at[0] if first.mode_set_at is not None else first.place
            if place in said:
                continue
            said.add(place)
            yield Hit(
                place=place,
                message=f"{first.name} trains in evaluation mode since step {steps[0] + 1}; before, it was in training "
                f"mode. It has {' and '.join(first.mode_layers)}",
                evidence=(Evidence(f"trains here, {len(steps)} steps in a row", first.place),),
                fix="model.train() at the beginning of each epoch.",
            )


def _optimizers(facts: LiveFacts, steps: set[int]) -> set[int]:
    """Return the optimizers that made some steps: a teacher that was trained before is of another than its student."""
    return {one.optimizer for one in facts.steps if one.step in steps}


def _longest_run(steps: list[int]) -> list[int]:
    """Return the longest part in which each step follows the one before."""
    runs: list[list[int]] = []
    for step in steps:
        if runs and runs[-1][-1] == step - 1:
            runs[-1].append(step)
        else:
            runs.append([step])
    return max(runs, key=len, default=[])
