"""No rank updates a trainable parameter.

What it finds:
    With `--world-size N`: parameters that require gradients, and that no rank's optimizer changes.

Why:
    A layer that is in no forward pass, or that no optimizer was given, is dead weight; under DDP it can be an error.

How sure:
    Sure for the ranks that were rehearsed; silent where ranks differ and not all were.
"""

from __future__ import annotations

from trainworthy.check.rule import described

BAD = """\
import torch
from torch import nn

model = nn.ModuleDict({"used": nn.Linear(4, 4), "idle": nn.Linear(4, 4)})
optimizer = torch.optim.SGD(model["used"].parameters(), lr=0.1)
"""
GOOD = """\
import torch
from torch import nn

model = nn.ModuleDict({"used": nn.Linear(4, 4)})
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
"""

described(code="TW407", severity="warning", module=__name__)
