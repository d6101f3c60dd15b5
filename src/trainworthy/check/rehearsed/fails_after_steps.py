"""The script fails after its training steps.

What it finds:
    The rehearsal saw the steps it was asked for, cut the loops short, and then the script raised an exception.

Why:
    What comes last in a script, the evaluation, the checkpoint, the summary, fails after days of training.

How sure:
    Sure that it raised. Loops that were cut short may be the cause: a mean over no batches, a list that is expected
    to be longer.
"""

from __future__ import annotations

from trainworthy.check.rule import described

BAD = """\
import torch
from torch import nn

model = nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(100):
    loss = model(torch.rand(8, 4)).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
torch.save(model.state_dicts(), "model.pt")
"""
GOOD = """\
import torch
from torch import nn

model = nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(100):
    loss = model(torch.rand(8, 4)).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
torch.save(model.state_dict(), "model.pt")
"""

described(code="TW302", severity="warning", module=__name__)
