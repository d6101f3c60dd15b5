"""A tensor is made on the CPU in every step and moved to the GPU.

What it finds:
    `torch.zeros(...).cuda()` and the like: one line makes a tensor on the CPU, from nothing, and copies it to the
    device of the model, in the steady state.

Why:
    The host fills it, and the copy from pageable memory makes the host wait; `device=` makes it where it is needed.

How sure:
    Sure of the line. A hint: for small tensors it is only untidy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from trainworthy.check.dry.rows import place_of, rows, source_lines
from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.tape.record import Tape

BAD = """\
import torch
from torch import nn

model = nn.Linear(4, 2).cuda()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(3):
    noise = torch.zeros(8, 4).cuda()  # <- TW762
    loss = model(torch.rand(8, 4, device="cuda") + noise).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn

model = nn.Linear(4, 2).cuda()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(3):
    noise = torch.zeros(8, 4, device="cuda")
    host = torch.utils.data.default_collate([torch.rand(4) for _ in range(8)])
    loss = model(host.cuda() + noise).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""

_MAKES = re.compile(
    r"torch\.(zeros|ones|full|arange|linspace|eye|rand|randn|randint|randperm|empty|zeros_like|ones_like)\("
    r".*\)\.(cuda\(|to\(\s*(device|\"cuda|'cuda|self\.device|args\.device))"
)


@rule(code="TW762", severity="hint", depth="dry")
def find(tape: Tape) -> Iterator[Hit]:
    """Look at copies to the device whose line also makes what it copies."""
    for row in rows(tape):
        name, signature = row.signature.name.partition(".")[0], row.signature
        if name != "_to_copy" or not signature.inputs or not signature.outputs or row.phase == "backward":
            continue
        if signature.inputs[0].device.startswith("cpu") and signature.outputs[0].device.startswith("cuda"):
            lines = source_lines(row.source, 1)
            if lines and _MAKES.search(lines[0]):
                yield Hit(
                    place=place_of(row.source, tape),
                    message=f"a tensor of {' x '.join(map(str, signature.inputs[0].shape))} is made on the "
                    f"CPU and copied "
                    "to the GPU in every step",
                    fix='Make it there: torch.zeros(..., device="cuda").',
                )
