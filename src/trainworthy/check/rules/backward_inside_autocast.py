"""The backward pass, or the optimizer, runs under autocast.

What it finds:
    `.backward()` of a loss, or the step of an optimizer, inside `with autocast():`.

Why:
    Backward operators already run in the type of their forward operator. Under autocast the gradients of operators that
    autocast does not know are computed in lower precision; PyTorch's documentation advises against it.

How sure:
    Certain of the nesting; how much it harms depends on the model.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.queries import AUTOCASTS, once_per_place
from trainworthy.check.static.values import Const, Instance

BAD = """\
import torch

model = torch.nn.Linear(4, 1).cuda()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x in torch.rand(10, 8, 4).cuda():
    optimizer.zero_grad()
    with torch.autocast("cuda", dtype=torch.bfloat16):
        loss = model(x).mean()
        loss.backward()  # <- TW206
    optimizer.step()
"""

GOOD = """\
import torch

model = torch.nn.Linear(4, 1).cuda()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x in torch.rand(10, 8, 4).cuda():
    optimizer.zero_grad()
    with torch.autocast("cuda", dtype=torch.bfloat16):
        loss = model(x).mean()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW206", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at what is open around each backward."""
    for call in once_per_place(analysis.method_calls("backward")):
        opened = [one for one in call.context.withs if one.name in AUTOCASTS]
        if not opened or call.name.startswith(("super.", "torch.autograd.")) or _is_off(opened[-1].value):
            continue
        yield Hit(
            place=analysis.place(call.node, call.context),
            message="backward runs under autocast",
            evidence=(Evidence("autocast is opened here", analysis.place(opened[-1].node, call.context)),),
            fix="Close autocast after the loss is computed.",
        )


def _is_off(value: object) -> bool:
    made = value.made_by if isinstance(value, Instance) else None
    off = made.keywords.get("enabled") if made is not None else None
    return isinstance(off, Const) and off.value is False
