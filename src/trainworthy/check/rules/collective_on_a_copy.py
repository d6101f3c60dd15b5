"""A collective works on a temporary copy, and its result is lost.

What it finds:
    `dist.all_reduce(x.contiguous())`, `dist.broadcast(x.float(), 0)` and the like as a statement, where `x` is used
    afterwards.

Why:
    These operations write into the tensor that they are given. If `.contiguous()` makes a copy, which it does exactly
    for some inputs, the sum stays in the copy: a rank goes on with its own part.

How sure:
    The argument is a call that may or always does return another tensor, is bound to no name, and nothing else keeps
    it.
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
import torch.distributed as dist


def reduced(x, group):
    dist.all_reduce(x.contiguous(), group=group)  # <- TW441
    return x
"""

GOOD = """\
import torch
import torch.distributed as dist


def reduced(x, group):
    x = x.contiguous()
    dist.all_reduce(x, group=group)
    return x
"""

_IN_PLACE = tuple(f"torch.distributed.{name}" for name in ("all_reduce", "broadcast", "reduce", "recv"))
_COPIES = frozenset("contiguous clone float half double bfloat16 long int cuda cpu to detach reshape".split()) - {
    "detach"
}


@rule(code="TW441", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at collectives whose tensor is a call's result."""
    statements = {node.value for node in analysis.nodes.get(ast.Expr, ()) if isinstance(node, ast.Expr)}
    for call in once_per_place(analysis.calls(*_IN_PLACE)):
        tensor = call.argument_node(0, "tensor")
        if (
            call.node not in statements
            or not isinstance(tensor, ast.Call)
            or not isinstance(tensor.func, ast.Attribute)
        ):
            continue
        if tensor.func.attr in _COPIES and isinstance(tensor.func.value, ast.Name | ast.Attribute | ast.Subscript):
            yield Hit(
                place=analysis.place(call.node, call.context),
                message=f"`{call.method}` writes into `.{tensor.func.attr}()`; if that is a copy, it is lost",
                fix="Assign it first, and use that name afterwards.",
            )
