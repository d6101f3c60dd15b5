"""DDP gets all GPUs in `device_ids`.

What it finds:
    `device_ids=list(range(n))`, `[*range(n)]` or a list of two and more, given to `DistributedDataParallel`: as it is,
    by a name or an attribute, in a dictionary that is handed on by `**`, or through `partial`.

Why:
    DDP runs one process a GPU; more than one id is a ValueError.

How sure:
    Certain for a literal list and for `range` with something other than 1. A name or attribute counts if the file
    assigns it once.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit, Place
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called, keyword
from trainworthy.check.static.handed_on import handed_on
from trainworthy.check.static.queries import once_per_place
from trainworthy.check.static.tree import unparsed

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
        nodes = [node for node in [call.argument_node(1, "device_ids")] if node is not None]
        if not nodes and call.starred and call.context.source is analysis.source:
            entries = handed_on(call.node, analysis.parents)
            nodes = [one.value for one in entries if one.key == "device_ids" and one.value is not None]
        for node in nodes:
            if _length(node, analysis) == "several":
                yield _hit(analysis.place(node, call.context))
    for one in analysis.nodes.get(ast.Call, ()):
        if isinstance(one, ast.Call) and called(one) == "partial" and one.args and _is_ddp(one.args[0], analysis):
            given = keyword(one, "device_ids")
            if given is not None and _length(given, analysis) == "several":
                yield _hit(analysis.place(given))


def _hit(place: Place) -> Hit:
    return Hit(
        place=place,
        message="`device_ids` of DistributedDataParallel may hold one GPU: the one of this process",
        fix="Write `device_ids=[local_rank]`.",
    )


def _is_ddp(node: ast.expr, analysis: Analysis) -> bool:
    """Say whether an expression names torch's wrapper, by its name or by the usual short one."""
    name = last_name(node)
    return name == "DistributedDataParallel" or (name == "DDP" and "DistributedDataParallel" in analysis.source.words)


def _length(node: ast.expr, analysis: Analysis, depth: int = 4) -> str:
    """Say of a list of GPUs that it has "several", "one" (or is None), "some" that a user names, or ""."""
    if depth and isinstance(node, ast.Name | ast.Attribute):
        values = _given(node, analysis)
        return _length(values[0], analysis, depth - 1) if len(values) == 1 else ""
    if isinstance(node, ast.IfExp):
        halves = {_length(node.body, analysis, depth), _length(node.orelse, analysis, depth)}
        return "several" if "several" in halves and halves <= {"several", "some"} else ""
    if isinstance(node, ast.List | ast.Tuple):
        if len(node.elts) == 1:
            only = node.elts[0]
            return _of_range(only.value, analysis) if isinstance(only, ast.Starred) else "one"
        return "several" if node.elts and not any(isinstance(one, ast.Starred) for one in node.elts) else ""
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("list", "tuple", "sorted") and node.args:
        return _of_range(node.args[0], analysis)
    if isinstance(node, ast.ListComp) and len(node.generators) == 1 and not node.generators[0].ifs:
        over = node.generators[0]
        if unparsed(node.elt) == unparsed(over.target):
            return _of_range(over.iter, analysis)
        return "some" if called(over.iter) == "split" else ""
    return "one" if isinstance(node, ast.Constant) and node.value is None else _of_range(node, analysis)


def _given(node: ast.Name | ast.Attribute, analysis: Analysis) -> list[ast.expr]:
    """Return what a name, or an attribute of that name of whatever, is assigned in the file."""
    name = last_name(node)
    found: list[ast.expr] = []
    for one in analysis.nodes.get(ast.Assign, ()):
        for target in one.targets if isinstance(one, ast.Assign) else ():
            if last_name(target) == name and type(target) is type(node) and isinstance(one, ast.Assign):
                found.append(one.value)
    parameters = [one for one in analysis.nodes.get(ast.arg, ()) if isinstance(node, ast.Name)]
    return [] if any(getattr(one, "arg", "") == name for one in parameters) else found


def _of_range(node: ast.expr, analysis: Analysis) -> str:
    if not isinstance(node, ast.Call) or getattr(node.func, "id", "") != "range" or len(node.args) != 1:
        return ""
    last = node.args[0]
    if isinstance(last, ast.Constant):
        return "one" if last.value == 1 else "several"
    values = _given(last, analysis) if isinstance(last, ast.Name | ast.Attribute) else []
    written = ast.dump(last) + (ast.dump(values[0]) if len(values) == 1 else "")
    return "several" if "device_count" in written or "world" in written.lower() else ""
