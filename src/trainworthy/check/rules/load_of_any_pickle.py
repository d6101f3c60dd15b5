"""`torch.load` is allowed to run code from the file.

What it finds:
    `torch.load(..., weights_only=False)`, written out.

Why:
    A pickle can run any program when it is loaded. Since torch 2.6 the default reads tensors and plain containers only.

How sure:
    Certain that it is written so; harmless for files of your own.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.queries import once_per_place

BAD = """\
import torch

state = torch.load("model.pt", weights_only=False)  # <- TW802
"""

GOOD = """\
import torch

state = torch.load("model.pt")
same = torch.load("model.pt", weights_only=True)
"""


@rule(code="TW802", severity="hint")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at calls."""
    for call in once_per_place(analysis.calls("torch.load")):
        node = call.argument_node(None, "weights_only")
        if isinstance(node, ast.Constant) and node.value is False:
            yield Hit(
                place=analysis.place(call.node, call.context),
                message="a file that is loaded with `weights_only=False` can run any program",
                fix="Leave it out, and allow what is needed: `torch.serialization.add_safe_globals`.",
            )
