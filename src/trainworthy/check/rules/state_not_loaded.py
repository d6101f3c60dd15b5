"""A checkpoint was loaded, and none of it found its place.

What it finds:
    load_state_dict(..., strict=False) with keys of which not one is the model's. And a checkpoint of which only what
    fits was put into the model's own `state_dict()`, where nothing did: the model is given its own tensors.

Why:
    Prefixes differ ("module.", "_orig_mod.", "model."), and strict=False, or the comprehension that picks what fits,
    says nothing: the model is as it was.

How sure:
    Sure.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule

BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

saved = {f"module.{k}": v for k, v in model.state_dict().items()}
model.load_state_dict(saved, strict=False)  # <- TW650
for step in range(3):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

before = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 5))
saved = {k: v for k, v in before.state_dict().items() if not k.startswith("2.")}
model.load_state_dict(saved, strict=False)
for step in range(3):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW650", severity="error", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield loads of nothing."""
    for load in facts.loads:
        if load.num_tensors and load.num_unexpected == load.num_tensors:
            yield Hit(
                place=load.place,
                message=f"load_state_dict loaded 0 of {load.num_tensors} tensors into {load.model}",
                evidence=(Evidence(f"given {load.example_unexpected!r}, the model has {load.example_missing!r}"),),
                fix="Take the prefix off the keys, and load with strict=True.",
            )
        elif load.num_tensors > 1 and load.num_own == load.num_tensors:
            yield Hit(
                place=load.place,
                message=f"load_state_dict gave {load.model} its own {load.num_own} tensors: nothing was loaded",
                fix="Compare the names of the checkpoint with the model's; weights that are kept need a `clone()`.",
            )
