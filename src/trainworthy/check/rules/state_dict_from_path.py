"""`load_state_dict` gets a file name.

What it finds:
    `model.load_state_dict("model.pt")`.

Why:
    It takes the loaded dict, not its path: TypeError.

How sure:
    The argument is text.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.external import is_module
from trainworthy.check.static.queries import once_per_place

BAD = """\
import torch

model = torch.nn.Linear(4, 4)
model.load_state_dict("model.pt")  # <- TW608
"""

GOOD = """\
import torch

model = torch.nn.Linear(4, 4)
model.load_state_dict(torch.load("model.pt"))
"""


@rule(code="TW608", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the argument."""
    joined = {call.node for call in analysis.calls("os.path.join", "os.path.abspath", "os.path.expanduser")}
    for call in once_per_place(analysis.method_calls("load_state_dict")):
        is_path = isinstance(call.constant(0, "state_dict"), str) or call.argument_node(0, "state_dict") in joined
        if is_module(call.owner) and is_path:
            yield Hit(
                place=analysis.place(call.node, call.context),
                message="`load_state_dict` takes the loaded dict, not a file name",
                fix="Write `model.load_state_dict(torch.load(path))`.",
            )
