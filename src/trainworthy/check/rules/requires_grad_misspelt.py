"""An attribute called `require_grad`.

What it finds:
    Assignments to `.require_grad`.

Why:
    The attribute is `requires_grad`. Python makes a new one, and nothing is frozen.

How sure:
    Certain.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Edit, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis

BAD = """\
import torch

model = torch.nn.Linear(4, 1)
for p in model.parameters():
    p.require_grad = False  # <- TW314
"""

GOOD = """\
import torch

model = torch.nn.Linear(4, 1)
for p in model.parameters():
    p.requires_grad = False
"""


@rule(code="TW314", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at attributes that are assigned."""
    if not analysis.source.words.intersection(_WRONG):
        return
    for node in analysis.nodes.get(ast.Attribute, ()):
        if isinstance(node, ast.Attribute) and node.attr in _WRONG and isinstance(node.ctx, ast.Store):
            if getattr(node.value, "id", "") == "self":
                continue  # an attribute of a class of one's own, which may be called anything
            place = analysis.place(node)
            end = place.end_column or 1
            name = place._replace(line=place.end_line or place.line, column=end - len(node.attr))
            yield Hit(
                place=place,
                message=f"`{node.attr}` is a new attribute; torch reads `requires_grad`",
                fix="Write `requires_grad`.",
                edits=(Edit(name, "requires_grad"),),
            )


_WRONG = ("require_grad", "requires_grads", "require_grads", "required_grad")
