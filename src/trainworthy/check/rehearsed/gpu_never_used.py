"""The script never uses the GPU.

What it finds:
    A rehearsal with `--gpu` of a script that trains on the CPU.

Why:
    The GPU is paid for and idle: a flag was forgotten, or the model was not moved.

How sure:
    Sure of the device of every operation.
"""

from __future__ import annotations

from trainworthy.check.rule import described

BAD = """\
import torch

model = torch.nn.Linear(4, 2)
loss = model(torch.rand(8, 4)).mean()
loss.backward()
"""
GOOD = """\
import torch

device = "cuda" if torch.cuda.is_available() else "cpu"
model = torch.nn.Linear(4, 2).to(device)
loss = model(torch.rand(8, 4, device=device)).mean()
loss.backward()
"""

described(code="TW701", severity="warning", module=__name__)
