"""An optimizer steps, and none of its parameters has a gradient.

What it finds:
    Two steps in a row with a backward pass before each, and not one gradient on any trainable parameter of the
    optimizer.

Why:
    zero_grad() stands between backward and step, or the optimizer holds other parameters than those that train: copies
    from before the model was rebuilt, moved or wrapped; or what it was made for was frozen afterwards, often by a loop
    that freezes "all but the norms" and takes the new head with it.

How sure:
    Sure: looked at when the step is taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from trainworthy.check.dry.notes import cause_in, noted
from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.live.runs import longest_run
from trainworthy.check.rule import rule
from trainworthy.tape.record import Tape

if TYPE_CHECKING:
    from trainworthy.check.live.facts_steps import Step

BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for step in range(4):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.zero_grad()  # <- TW351
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

other = nn.Linear(2, 2)
second = torch.optim.SGD(other.parameters(), lr=0.1)
for step in range(4):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    second.zero_grad()
    other(torch.randn(3, 2)).sum().backward()
    second.step()
"""


@rule(code="TW351", severity="error", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield optimizers that do nothing in two steps."""
    for steps in facts.steps_by_optimizer():
        run = longest_run(
            steps,
            lambda s: (
                s.parameters > 0
                and s.num_without_gradient == s.trainable
                and not s.with_gradient
                and s.backwards > 0
                and not s.has_closure
            ),
        )
        reached = any(b.reaches_parameter for b in facts.backwards)
        if len(run) >= 2 and len(run) == len(steps) and reached:
            first = run[0]
            cause = first.cleared_at or first.made_at
            yield Hit(
                place=cause or first.place,
                message=f"{first.optimizer_class} steps, and none of its {_which(first)} has a gradient, though a "
                f"backward pass came before{'; gradients are cleared here' if first.cleared_at is not None else ''}",
                evidence=(Evidence(f"steps here, {len(run)} times", first.place),),
                fix="zero_grad() before backward(), not after."
                if first.cleared_at is not None
                else "Make the optimizer from the parameters that are trained, once they are all there.",
            )


def _which(step: Step) -> str:
    return f"{step.trainable} trainable parameters" if step.trainable else f"{step.parameters} parameters, all frozen,"


@rule(code="TW351", severity="error", depth="dry")
def find_on_tape(tape: Tape) -> Iterator[Hit]:
    """Yield optimizers none of whose parameters had a gradient in any of two steps or more."""
    parameters = noted(tape, "parameters")
    models = parameters.get("models", ())
    for one in parameters.get("optimizers", ()):
        if one["closure"] or one["steps"] < 2 or one["idle"] < one["steps"] or one["backwards"] < one["steps"]:
            continue
        others = sum(len(model["not_held"]) for model in models)
        evidence = f"{others} parameters that are in no optimizer do get gradients" if others else "in every step seen"
        yield Hit(
            place=cause_in(one, tape),
            message=f"{one['class']} steps, and none of its {one['trainable']} trainable parameters has a gradient, "
            "though a backward pass came before",
            evidence=(Evidence(evidence),),
            fix="zero_grad() before backward(), not after; make the optimizer from the model that is trained.",
        )
