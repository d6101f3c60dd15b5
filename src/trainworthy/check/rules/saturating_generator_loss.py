"""A generator's loss that is flat where the generator is bad.

What it finds:
    A loss whose name says generator (`loss_g`, `g_loss`, `generator_loss`), made as `torch.log(1 - D(...)).mean()`.

Why:
    While the discriminator is sure that samples are fake, the slope of log(1 - D) is nearly 0: the generator does not
    get going. Maximising log D has the same optimum and a steep slope there.

How sure:
    A hint: the formula is that of the paper's theory, and with a weak discriminator it works.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis

BAD = """\
import torch

D, G = torch.nn.Linear(4, 1), torch.nn.Linear(4, 4)
loss_g = torch.log(1 - D(G(torch.rand(8, 4)))).mean()  # <- TW270
"""

GOOD = """\
import torch

D, G = torch.nn.Linear(4, 1), torch.nn.Linear(4, 4)
loss_g = -torch.log(D(G(torch.rand(8, 4)))).mean()
loss_d = -torch.log(1 - D(G(torch.rand(8, 4)))).mean()
"""

_GENERATOR = re.compile(r"(^|_)(g|gen|generator)(_|$)|^(loss|err)g$|lossg|gloss")


@rule(code="TW270", severity="hint")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at what losses of generators are made of."""
    if "log" not in analysis.source.words:
        return
    for node in analysis.nodes.get(ast.Assign, ()):
        if not isinstance(node, ast.Assign) or len(node.targets) != 1 or not isinstance(node.targets[0], ast.Name):
            continue
        name = node.targets[0].id.lower()
        says_loss = "loss" in name or name.startswith("err")
        if says_loss and _GENERATOR.search(name) and _is_flat(node.value):
            yield Hit(
                place=analysis.place(node),
                message=f"`{node.targets[0].id}` minimises log(1 - D), which is flat while D is sure",
                fix="-torch.log(D(G(z))).mean(), or BCEWithLogitsLoss with labels of 1.",
            )


def _is_flat(node: ast.expr) -> bool:
    """Say whether an expression is mean(log(1 - something)), with nothing before it."""
    inner = _called(node, "mean")
    inner = _called(inner, "log") if inner is not None else None
    return (
        isinstance(inner, ast.BinOp)
        and isinstance(inner.op, ast.Sub)
        and isinstance(inner.left, ast.Constant)
        and inner.left.value == 1
    )


def _called(node: ast.expr | None, name: str) -> ast.expr | None:
    """Return what a method or function of that name is applied to."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.func.attr != name:
        return None
    return node.args[0] if node.args else node.func.value
