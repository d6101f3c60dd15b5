"""A loss ignores one of its real classes.

What it finds:
    ignore_index lies among the classes, targets with it occur, there are at most 64 classes, and neither an Embedding
    of the model says that it is padding, nor does it stand at the ends of rows only, as padding does.

Why:
    That class is never learnt.

How sure:
    A hint: the class may well mean "nothing" or "unlabelled".
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

for step in range(4):
    x, y = torch.randn(8, 4), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    loss = nn.functional.cross_entropy(model(x), y, ignore_index=0)  # <- TW254
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

for step in range(4):
    x, y = torch.randn(8, 4), torch.tensor([0, 1, 2, 0, 1, -1, 0, 1])
    loss = nn.functional.cross_entropy(model(x), y, ignore_index=-1)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW254", severity="hint", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield losses whose ignored class occurs in two steps."""
    for place in dict.fromkeys(t.place for t in facts.targets):
        found = [
            t for t in facts.targets
            if t.place == place and t.ignored_is_class and t.num_classes <= 64 and t.num_counted < t.num_targets
            and t.padding_idx != t.ignore_index and not t.ignored_are_tails
        ]  # fmt: skip
        if len({t.step for t in found}) >= 2:
            first = found[0]
            yield Hit(
                place=first.made_at or place,
                message=f"ignore_index={first.ignore_index} is one of the {first.num_classes} classes, and "
                f"{first.num_targets - first.num_counted} of {first.num_targets} targets are it: it is never learnt",
                evidence=(Evidence("in this call", place),) if first.made_at is not None else (),
                fix="Use a number that is no class (-100) for what is to be left out.",
            )
