"""The width of a one-hot code depends on the labels of the batch.

What it finds:
    `F.one_hot(labels)` without `num_classes`, in a loop, or of an argument in a module's `forward`; also with the
    largest label plus one as the width, and rows of `torch.eye(labels.max() + 1)`.

Why:
    The width is the largest label present plus one, so a batch without the last class has fewer columns.

How sure:
    A hint: if every batch holds every class, the width is right.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called, integer, subject
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import in_a_module, once_per_place
from trainworthy.check.static.tree import nodes_of, variables

BAD = """\
import torch
import torch.nn.functional as F

for labels in torch.randint(0, 10, (100, 64)):
    codes = F.one_hot(labels)  # <- TW106
"""

GOOD = """\
import torch
import torch.nn.functional as F

for labels in torch.randint(0, 10, (100, 64)):
    codes = F.one_hot(labels, num_classes=10)
"""


@rule(code="TW106", severity="hint")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at calls."""
    for call in once_per_place(analysis.calls("torch.nn.functional.one_hot")):
        width = call.argument_node(1, "num_classes")
        of_batch = not call.has(1, "num_classes") or (width is not None and _is_largest(width, call.node.args[:1]))
        if of_batch and (call.context.in_loop or _is_of_a_forward(call)):
            yield _hit(analysis, call)
    for call in once_per_place(analysis.calls("torch.eye", "numpy.eye")):
        rows = analysis.parents.get(call.node)
        picked = [rows.slice] if isinstance(rows, ast.Subscript) and rows.value is call.node else []
        if picked and len(call.node.args) == 1 and call.context.in_loop and _is_largest(call.node.args[0], picked):
            yield _hit(analysis, call)


def _hit(analysis: Analysis, call: Call) -> Hit:
    return Hit(
        place=analysis.place(call.node, call.context),
        message="the number of columns is the largest label of each batch plus 1",
        fix="Give the number of classes: `num_classes=` of `one_hot`, the size of `eye`.",
    )


def _is_largest(node: ast.expr, labels: list[ast.expr]) -> bool:
    """Say whether a width is the largest of some labels plus one: ``int(y.max()) + 1``."""
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Add) or integer(node.right) != 1 or not labels:
        return isinstance(node, ast.Call) and called(node) == "int" and any(
            _is_largest(one, labels) for one in node.args
        )  # fmt: skip
    found = [subject(one) for one in nodes_of(node.left, ast.Call) if called(one) in ("max", "amax")]
    names = variables(labels[0])
    return any(one is not None and bool(variables(one) & names) for one in found)


def _is_of_a_forward(call: Call) -> bool:
    """Say whether what is coded is an argument of a module's forward pass as it is."""
    function = call.context.function
    given = call.node.args[0] if call.node.args else None
    while isinstance(given, ast.Call) and isinstance(given.func, ast.Attribute) and not given.args:
        given = given.func.value  # y.long()
    if function is None or function.name != "forward" or not in_a_module(call) or not isinstance(given, ast.Name):
        return False
    return given.id in {one.arg for one in function.node.args.args}
