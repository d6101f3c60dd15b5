"""A loss is summed over ranks by a collective that has no gradient.

What it finds:
    `torch.distributed.all_reduce(x)` in the forward pass of a module, on a value computed there, whose result goes
    into what is returned.

Why:
    Autograd does not see `all_reduce`: the values are those of all ranks, the gradient is that of one, divided by
    their number if the value was. Ranks train, but not what one process would.

How sure:
    The reduced tensor is computed in this forward pass from its inputs, is used afterwards, and gradients are not
    off.

When it is wrong:
    The value is a constant of the loss: statistics, or a count that has no gradient.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.external import is_module
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import once_per_place
from trainworthy.check.static.tree import walk
from trainworthy.check.static.values import Instance

BAD = """\
import torch
import torch.distributed as dist


class CrossCorrelation(torch.nn.Module):
    def forward(self, a, b):
        c = a.T @ b / a.shape[0]
        c = c / dist.get_world_size()
        dist.all_reduce(c)  # <- TW442
        return (c - torch.eye(c.shape[0])).pow(2).sum()
"""

GOOD = """\
import torch
import torch.distributed as dist
from torch.distributed.nn import all_reduce


class CrossCorrelation(torch.nn.Module):
    def forward(self, a, b):
        c = a.T @ b / a.shape[0]
        c = all_reduce(c / dist.get_world_size())
        with torch.no_grad():
            count = torch.ones(1)
            dist.all_reduce(count)
        return (c - torch.eye(c.shape[0])).pow(2).sum()
"""


@rule(code="TW442", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at reductions in forward passes of losses."""
    for call in once_per_place(analysis.calls("torch.distributed.all_reduce")):
        function = call.context.function
        if function is None or function.owner is None or function.name != "forward":
            continue
        if not is_module(function.owner.prototype or Instance("")) or call.context.under(
            "torch.no_grad", "torch.inference_mode"
        ):
            continue
        tensor = call.argument_node(0, "tensor")
        if isinstance(tensor, ast.Name) and _has_a_gradient(function.node, tensor.id, call):
            yield Hit(
                place=analysis.place(call.node, call.context),
                message=f"`all_reduce` has no gradient; `{tensor.id}` goes into the loss with that of this rank alone",
                fix="Use `torch.distributed.nn.all_reduce`.",
            )


def _has_a_gradient(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, name: str, call: Call) -> bool:
    """Say whether a name is made by products of a forward pass's arguments, and is used afterwards."""
    inputs = {arg.arg for arg in function.args.args} - {"self"}
    made_of = _made_of(function, name)
    computed = any(isinstance(part, ast.BinOp | ast.Call) for _, part in made_of)
    names = {one.id for _, part in made_of for one in walk(part) if isinstance(one, ast.Name)}
    grown = set(names)
    for one in list(names):
        grown |= {n.id for _, part in _made_of(function, one) for n in walk(part) if isinstance(n, ast.Name)}
    products = any(
        (isinstance(one, ast.BinOp) and isinstance(one.op, ast.MatMult))
        or getattr(one, "attr", "") in ("mm", "matmul", "bmm", "einsum", "mse_loss")
        for _, part in made_of
        for one in walk(part)
    )
    used = any(isinstance(one, ast.Name) and one.id == name and one.lineno > call.node.lineno for one in walk(function))
    detached = any(getattr(one, "attr", "") in ("detach", "item") for _, part in made_of for one in walk(part))
    return computed and products and used and bool(grown & inputs) and not detached


def _made_of(function: ast.AST, name: str) -> list[tuple[int, ast.expr]]:
    return [
        (node.lineno, node.value)
        for node in walk(function)
        if isinstance(node, ast.Assign)
        and any(isinstance(one, ast.Name) and one.id == name for target in node.targets for one in walk(target))
    ]
