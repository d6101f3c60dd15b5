"""The sigma of a paper is given as torch's beta.

What it finds:
    `SmoothL1Loss(beta=sigma)` and `smooth_l1_loss(..., beta=sigma)` where the argument is a name with "sigma" in it.
    Also such a loss written out whose square and line do not meet, because one takes the parameter for its square:
    `0.5 * (sigma2 * x) ** 2` beside `x - 0.5 / sigma2`.

Why:
    Detection papers write 0.5 (sigma x)^2 below 1/sigma^2; torch's beta is that knee. Sigma 3 means beta 1/9, and
    beta 3 is another loss, 27 times as wide.

How sure:
    A hint: the name says sigma. Of `a x^2` and `b x - c` it is sure: they meet smoothly only where c is b^2 / 4a.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.queries import once_per_place
from trainworthy.check.static.two_pieces import may_be_two_pieces, pieces_apart

BAD = """\
import torch

sigma = 3.0
loss = torch.nn.SmoothL1Loss(beta=sigma)  # <- TW262
"""

GOOD = """\
import torch

sigma = 3.0
loss = torch.nn.SmoothL1Loss(beta=1 / sigma**2)
"""


@rule(code="TW262", severity="hint")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at what is given as beta."""
    if may_be_two_pieces(analysis):
        for node, name in dict(pieces_apart(analysis)).items():
            yield Hit(
                place=analysis.place(node),
                message=f"the loss jumps where this square ends and its line begins: one of them takes `{name}` for "
                "its square, or its root",
                fix="With sigma: 0.5 * (sigma * x)**2 below 1 / sigma**2, and x - 0.5 / sigma**2 above.",
            )
    if "beta" not in analysis.source.words:
        return
    for call in once_per_place(analysis.calls("torch.nn.SmoothL1Loss", "torch.nn.functional.smooth_l1_loss")):
        given = call.argument_node(None, "beta")
        name = given.id if isinstance(given, ast.Name) else given.attr if isinstance(given, ast.Attribute) else ""
        if "sigma" in name.lower():
            yield Hit(
                place=analysis.place(call.node, call.context),
                message=f"`{name}` is given as `beta`, the point where the loss turns linear, which is 1 / sigma^2",
                fix=f"beta=1 / {name}**2",
            )
