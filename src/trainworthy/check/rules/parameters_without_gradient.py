"""Trainable parameters of an optimizer never get a gradient.

What it finds:
    At each of three steps or more of an optimizer, some of its trainable parameters had no gradient (None), others had.
    They are grouped by the module that they share. Said is too whether that module was called.

Why:
    A layer that is never used, an output that no loss takes, a tensor that was detached, or a checkpointed block whose
    inputs need no gradient (use_reentrant=True).

How sure:
    Sure that there was none. A hint if the module was never called in these steps: it may be for later.

On a rehearsal:
    The same in two steps or more; in three or more if the module never ran.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.dry.notes import noted, place_in
from trainworthy.check.finding import Hit
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
        with torch.no_grad():
            x = self.body(x)
        return self.head(x.relu())


model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(5):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()  # <- TW363
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

optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(5):
    model.body.requires_grad_(step % 2 == 0)
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW363", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield groups of parameters that never had a gradient."""
    for steps in facts.steps_by_optimizer():
        if len(steps) < 3 or any(s.has_closure for s in steps):
            continue
        never = set.intersection(*(set(s.without_gradient) for s in steps))
        if not never or len(never) >= steps[0].trainable:
            continue
        groups: dict[str, list[str]] = {}
        for name in sorted(never):
            groups.setdefault(name.rpartition(".")[0], []).append(name)
        ran = never - set(steps[-1].never_called)
        names = listed([name for group in groups.values() for name in group if not ran or name in ran])
        yield Hit(
            place=steps[0].place if ran else steps[0].uncalled_at or steps[0].place,
            severity="warning" if ran else "hint",
            message=f"{len(never)} of {steps[0].trainable} trainable parameters had no gradient in any of {len(steps)} "
            f"steps, {'though their module ran' if ran else 'and their module never ran'}: {names}",
            fix="Use what they compute in the loss; look for no_grad, detach, or "
            "checkpoint(use_reentrant=True) around it.",
        )  # fmt: skip


@rule(code="TW363", severity="warning", depth="dry")
def find_on_tape(tape: Tape) -> Iterator[Hit]:
    """Yield, by model, parameters whose optimizer stepped twice or more without a gradient on them."""
    parameters = noted(tape, "parameters")
    is_alone = (tape.notes.get("cluster") or {}).get("world_size", 1) == 1  # else another rank may run the module
    for model in parameters.get("models", ()):
        named = {name: ran for name, steps, ran, _ in model["without_gradient"] if ran or (steps >= 3 and is_alone)}
        if not named or len(named) >= model["trainable"]:
            continue
        ran = [name for name, did in named.items() if did]
        steps = min(count for name, count, _, _ in model["without_gradient"] if name in named)
        yield Hit(
            place=place_in(parameters["optimizers"][model["without_gradient"][0][3]], tape),
            severity="warning" if ran else "hint",
            message=f"{len(named)} of {model['trainable']} trainable parameters of {model['model']} had no gradient in "
            f"any of {steps} steps, {'though their module ran' if ran else 'and their module never ran'}: "
            f"{listed(ran or sorted(named))}",
            fix="Use what they compute in the loss; look for no_grad, detach, or "
            "checkpoint(use_reentrant=True) around it.",
        )  # fmt: skip
