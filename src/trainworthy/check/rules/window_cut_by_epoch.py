"""The last gradients of an epoch wait for a step that does not come.

What it finds:
    With gradient accumulation, a loader begins its next epoch while some backward passes have not been followed by a
    step, and the next step comes of another number of them than the others; or the third epoch begins and no step came.
    Without a loader: twice, as many backward passes, fewer than a window, are followed by others with their gradients
    cleared and no step in between, while most windows are whole.

Why:
    The number of batches is no multiple of the window: the rest is either thrown away by zero_grad or goes into the
    first step of the next epoch, whose window begins anew.

How sure:
    Sure of the order of events. Windows of one size that go on from one epoch into the next are not reported.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.live.facts_steps import Backward
from trainworthy.check.rule import rule

BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
from torch.utils.data import DataLoader, TensorDataset

model = nn.Linear(4, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
loader = DataLoader(TensorDataset(torch.randn(80, 4), torch.randint(3, (80,))), batch_size=8, shuffle=True)
for epoch in range(3):
    for i, (x, y) in enumerate(loader):
        loss = nn.functional.cross_entropy(model(x), y) / 4
        loss.backward()  # <- TW375
        if i % 4 == 3:
            optimizer.step()
            optimizer.zero_grad()
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
from torch.utils.data import DataLoader, TensorDataset

model = nn.Linear(4, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
loader = DataLoader(TensorDataset(torch.randn(80, 4), torch.randint(3, (80,))), batch_size=8, shuffle=True)
for epoch in range(3):
    for i, (x, y) in enumerate(loader):
        loss = nn.functional.cross_entropy(model(x), y) / 4
        loss.backward()
        if i % 4 == 3 or i + 1 == len(loader):
            optimizer.step()
            optimizer.zero_grad()
"""


@rule(code="TW375", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield windows that were cut."""
    yield from _never_filled(facts)
    yield from _thrown_away(facts)
    sizes = [sum(b.step == s.step for b in facts.backwards) for s in facts.steps]
    usual = min(sizes, default=0)
    if usual < 2 or len({s.optimizer for s in facts.steps}) != 1:
        return
    for place in dict.fromkeys(p.place for p in facts.pending):
        found = [p for p in facts.pending if p.place == place and p.pending < max(sizes)]
        goes_on = len(set(sizes)) == 1 and any(p.step < len(sizes) for p in found)
        if found and not goes_on:
            yield Hit(
                place=place,
                message=f"an epoch begins while {found[0].pending} of {usual} backward passes wait for a step",
                fix="Step at the last batch of an epoch too: (i + 1) % k == 0 or i + 1 == len(loader).",
            )


def _never_filled(facts: LiveFacts) -> Iterator[Hit]:
    """Yield a window that is longer than an epoch and begins anew in each."""
    last = next((p for p in facts.pending if p.idle_optimizer), None)
    if last is not None and not facts.steps:
        epochs = facts.pending.index(last) + 1
        yield Hit(
            place=last.place,
            message=f"{epochs} epochs are over with {last.pending} backward passes, and {last.idle_optimizer} has not "
            "stepped once",
            evidence=(Evidence("its parameters hold gradients"),),
            fix="Count batches over all epochs, or step at the last batch of each: i + 1 == len(loader).",
        )


def _thrown_away(facts: LiveFacts) -> Iterator[Hit]:
    """Yield the ends of windows that were cleared, where no loader says that an epoch begins."""
    if facts.pending or len({s.optimizer for s in facts.steps}) != 1:
        return
    whole: list[int] = []
    lost: list[tuple[int, Backward]] = []
    for step in facts.steps:
        window = [b for b in facts.backwards if b.step == step.step]
        cuts = [at for at, b in enumerate(window) if at and b.cleared]
        whole.append(len(window) - (cuts[-1] if cuts else 0))
        lost += [(cuts[0], window[cuts[0] - 1])] if len(cuts) == 1 else [(0, window[-1])] * len(cuts)
    sizes = {count for count, _ in lost}
    if 2 <= len(lost) <= len(whole) / 2 and len({*whole}) == 1 and len(sizes) == 1 and 0 < min(sizes) < whole[0]:
        yield Hit(
            place=lost[0][1].place,
            message=f"the gradients of {lost[0][0]} backward passes are cleared before a step, {len(lost)} times; a "
            f"step comes of {whole[0]}",
            fix="Step at the last batch of an epoch too: (i + 1) % k == 0 or i + 1 == len(loader).",
        )
