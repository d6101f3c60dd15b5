"""Multiply-adds are called FLOPs.

What it finds:
    The first result of `thop.profile`, `ptflops.get_model_complexity_info` or a name `macs` is assigned to a name
    with "flop" in it, and not doubled.

Why:
    One multiply-add is two floating-point operations. These tools count multiply-adds, peaks of GPUs count
    operations: the utilisation comes out half as large.

How sure:
    A hint: papers on vision models call multiply-adds FLOPs, and comparing with them is right.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis

BAD = """\
import torch
from thop import profile

flops, params = profile(torch.nn.Linear(4, 4), inputs=(torch.rand(1, 4),))  # <- TW765
"""

GOOD = """\
import torch
from thop import profile

macs, params = profile(torch.nn.Linear(4, 4), inputs=(torch.rand(1, 4),))
flops = 2 * macs
"""

_COUNTERS = ("thop.profile", "thop.profile.profile", "ptflops.get_model_complexity_info")


@rule(code="TW765", severity="hint")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at names of what counters return."""
    if not analysis.source.words.intersection(("thop", "ptflops", "macs")):
        return
    counters = {call.node for call in analysis.calls(*_COUNTERS)}
    doubled = _doubled(analysis)
    for node in analysis.nodes.get(ast.Assign, ()):
        if not isinstance(node, ast.Assign):
            continue
        target = node.targets[0]
        first = target.elts[0] if isinstance(target, ast.Tuple) and target.elts else target
        name = getattr(first, "id", "")
        from_macs = isinstance(node.value, ast.Name) and node.value.id.lower() == "macs"
        if "flop" in name.lower() and (node.value in counters or from_macs) and name not in doubled:
            yield Hit(
                place=analysis.place(node),
                message=f"`{name}` holds multiply-adds: each is two FLOPs",
                fix=f"Call it macs, or {name} = 2 * macs.",
            )


def _doubled(analysis: Analysis) -> set[str]:
    """Return names that are multiplied by 2 somewhere."""
    found = set()
    for node in analysis.nodes.get(ast.BinOp, ()):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            sides = (node.left, node.right)
            if any(isinstance(one, ast.Constant) and one.value == 2 for one in sides):
                found |= {one.id for one in sides if isinstance(one, ast.Name)}
    return found
