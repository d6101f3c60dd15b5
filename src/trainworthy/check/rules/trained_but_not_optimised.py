"""Parameters get gradients, and no optimizer has them.

What it finds:
    In three steps or more, trainable parameters of a model got gradients, belong to no optimizer that stepped, and did
    not change, while other parameters of the same model were updated.

Why:
    The optimizer was made before a layer was added or replaced, or lists parts of the model by name.

How sure:
    Sure of identity and values. A part that is left as it is on purpose should say requires_grad_(False): its gradients
    cost time and memory. A model of which nothing is optimised (a loss network) is not reported.

On a rehearsal:
    The same in two steps or more, for parameters that no optimizer of the script holds, stepping or not. Not said of a
    rank of several, where another rank may update them (TW407 compares the ranks).
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.dry.notes import cause_in, noted
from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.live.runs import listed
from trainworthy.check.rule import rule
from trainworthy.tape.record import Tape

BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.body(x).relu())


model = Net()

optimizer = torch.optim.SGD(model.head.parameters(), lr=0.1)  # <- TW353
for step in range(5):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)
    model.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.body(x).relu())


model = Net()

model.body.requires_grad_(False)
loss_network = nn.Linear(3, 2).requires_grad_(False)
optimizer = torch.optim.SGD(model.head.parameters(), lr=0.1)
by_hand = nn.Linear(3, 3)
for step in range(5):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    scores = by_hand(model(x))
    loss = nn.functional.cross_entropy(scores, y) + loss_network(scores).pow(2).mean()
    model.zero_grad()
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        for p in by_hand.parameters():
            p -= 0.1 * p.grad
            p.grad = None
"""


@rule(code="TW353", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield models that are optimised in part; TW351 says it where an optimizer has nothing to do at all."""
    if not any(s.with_gradient for s in facts.steps):
        return
    for fact in facts.unoptimised:
        if fact.registered and fact.others_optimised:
            yield Hit(
                place=fact.made_at or fact.place,
                message=f"{len(fact.names)} parameter{'s' * (len(fact.names) > 1)} of {fact.model} got gradients in "
                f"{fact.steps} steps, belong to no optimizer that stepped, and did not change: {listed(fact.names)}",
                evidence=(Evidence("the optimizer of the others steps here", fact.place),) if fact.made_at else (),
                fix="Make the optimizer from model.parameters() once the model is complete; or requires_grad_(False).",
            )


@rule(code="TW353", severity="warning", depth="dry")
def find_on_tape(tape: Tape) -> Iterator[Hit]:
    """Yield models of which parameters with gradients are in no optimizer that was made."""
    if (tape.notes.get("cluster") or {}).get("world_size", 1) > 1:  # another rank may update them: TW407 compares
        return
    parameters = noted(tape, "parameters")
    for model in parameters.get("models", ()):
        names = [name for name, _, _ in model["not_held"]]
        if names and model["optimised"]:
            yield Hit(
                place=cause_in(parameters["optimizers"][model["not_held"][0][2]], tape),
                message=f"{len(names)} parameter{'s' * (len(names) > 1)} of {model['model']} got gradients in "
                f"{min(count for _, count, _ in model['not_held'])} steps and are in no optimizer: {listed(names)}",
                fix="Make the optimizer from model.parameters() once the model is complete; or requires_grad_(False).",
            )
