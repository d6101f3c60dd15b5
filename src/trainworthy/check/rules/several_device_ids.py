"""DDP gets all GPUs in `device_ids`.

What it finds:
    `device_ids=list(range(n))`, or a list of two and more, given to `DistributedDataParallel`.

Why:
    DDP runs one process a GPU; more than one id is a ValueError.

How sure:
    Certain for a literal list and for `range` with something other than 1.
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
import torch.nn as nn
from torch.nn.parallel import DistributedDataParallel

model = DistributedDataParallel(nn.Linear(4, 4), device_ids=list(range(torch.cuda.device_count())))  # <- TW415
"""

GOOD = """\
import torch.nn as nn
from torch.nn.parallel import DistributedDataParallel

model = DistributedDataParallel(nn.Linear(4, 4), device_ids=[0])
"""


@rule(code="TW415", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the argument."""
    for call in once_per_place(analysis.calls("torch.nn.parallel.DistributedDataParallel")):
        node = call.argument_node(1, "device_ids")
        if node is None or not _several(_written(node, analysis)):
            continue
        yield Hit(
            place=analysis.place(node, call.context),
            message="`device_ids` of DistributedDataParallel may hold one GPU: the one of this process",
            fix="Write `device_ids=[local_rank]`.",
        )


def _written(node: ast.expr, analysis: Analysis) -> ast.expr:
    """Return what a name was assigned, if it was assigned once in the file."""
    if not isinstance(node, ast.Name):
        return node
    values = [
        one.value
        for one in analysis.nodes.get(ast.Assign, ())
        if isinstance(one, ast.Assign) and any(getattr(t, "id", "") == node.id for t in one.targets)
    ]
    return values[0] if len(values) == 1 else node


def _several(node: ast.expr) -> bool:
    if isinstance(node, ast.List | ast.Tuple):
        return len(node.elts) > 1 and not any(isinstance(one, ast.Starred) for one in node.elts)
    inner = node
    if isinstance(inner, ast.Call) and getattr(inner.func, "id", "") == "list" and inner.args:
        inner = inner.args[0]
    if isinstance(inner, ast.Call) and getattr(inner.func, "id", "") == "range" and len(inner.args) == 1:
        last = inner.args[0]
        return isinstance(last, ast.Constant) or "device_count" in ast.dump(last) or "world" in ast.dump(last).lower()
    return False
