"""Weight decay that Adam adds to the gradient.

What it finds:
    `torch.optim.Adam(..., weight_decay=x)` with x above 0: off by default.

Why:
    `Adam` adds the decay to the gradient and then divides by the root of the second moment, so weights with large
    gradients decay less; `AdamW` decays all alike. Values from papers on AdamW, such as 0.1, mean something else here.

How sure:
    Certain what is computed. Off by default, because whether it was meant is a matter of taste.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.queries import once_per_place

BAD = """\
import torch

net = torch.nn.Linear(4, 2)
optimizer = torch.optim.Adam(net.parameters(), weight_decay=0.1)  # <- TW372
"""

GOOD = """\
import torch

net = torch.nn.Linear(4, 2)
optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.1)
"""


@rule(code="TW372", severity="hint", default=False)
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the arguments of Adam."""
    for call in once_per_place(analysis.calls("torch.optim.Adam")):
        decay = call.constant(4, "weight_decay")
        if isinstance(decay, int | float) and decay > 0 and call.constant(None, "decoupled_weight_decay") is not True:
            yield Hit(
                place=analysis.place(call.node, call.context),
                message=f"Adam adds weight_decay={decay:g} to the gradient, where it is rescaled with it",
                fix="torch.optim.AdamW, with no decay for biases and norms.",
            )
