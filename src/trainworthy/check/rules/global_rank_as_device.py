"""The global rank is used as the number of a GPU.

What it finds:
    `torch.device("cuda", rank)`, `.to(rank)` or `set_device(rank)` where `rank` is `dist.get_rank()` or
    `int(os.environ["RANK"])`.

Why:
    On the second node the ranks go on from 8, and its GPUs are numbered 0 to 7.

How sure:
    Certain on several nodes. On one node both numbers are the same: how many there are is not in the source.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.queries import once_per_place
from trainworthy.check.static.tree import nodes_of, unparsed, walk

BAD = """\
import torch
import torch.distributed as dist

dist.init_process_group("nccl")
rank = dist.get_rank()
torch.cuda.set_device(rank)  # <- TW461
"""

GOOD = """\
import os

import torch
import torch.distributed as dist

dist.init_process_group("nccl")
rank, local_rank = dist.get_rank(), int(os.environ["LOCAL_RANK"])
torch.cuda.set_device(local_rank)
other = torch.device("cuda", rank % torch.cuda.device_count())
"""

_DEVICES = {"torch.device": 1, "torch.cuda.set_device": 0}


@rule(code="TW461", severity="hint")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at what names a device."""
    ranks = _ranks(analysis)
    if not ranks:
        return
    for name, at in _DEVICES.items():
        for call in once_per_place(analysis.calls(name)):
            given = call.argument_node(at, "index")
            text = _name_of(given)
            if text in ranks:
                yield Hit(
                    place=analysis.place(call.node, call.context),
                    message=f"`{text}` counts over all nodes, and GPUs are numbered on each",
                    evidence=(Evidence("it is the global rank", analysis.place(ranks[text])),),
                    fix='int(os.environ["LOCAL_RANK"])',
                )


def _ranks(analysis: Analysis) -> dict[str, ast.AST]:
    found: dict[str, ast.AST] = {}
    for node in analysis.nodes.get(ast.Assign, ()):
        if isinstance(node, ast.Assign) and _is_rank(node.value):
            found |= {name: node for target in node.targets if (name := _name_of(target))}
    return found


def _is_rank(node: ast.expr) -> bool:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get_rank":
        return not node.args and not node.keywords
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "int":
        keys = [one.value for one in nodes_of(node, ast.Constant)]
        return keys[:1] == ["RANK"] and any(getattr(one, "attr", "") in ("environ", "getenv") for one in walk(node))
    return False


def _name_of(node: ast.AST | None) -> str:
    """Return a name, or an attribute as it is written; of an f-string, the one part it has."""
    if isinstance(node, ast.JoinedStr):
        parts = [one.value for one in node.values if isinstance(one, ast.FormattedValue)]
        return _name_of(parts[0]) if len(parts) == 1 else ""
    return unparsed(node) if isinstance(node, ast.Name | ast.Attribute) else ""
