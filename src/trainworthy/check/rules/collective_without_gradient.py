"""A loss is summed over ranks by a collective that has no gradient.

What it finds:
    `torch.distributed.all_reduce(x)` in the forward pass of a module, on a value computed there, whose result goes
    into what is returned.

Why:
    Autograd does not see `all_reduce`: the values are those of all ranks, the gradient is that of one, divided by
    their number if the value was. Ranks train, but not what one process would.

How sure:
    The reduced tensor is computed in this forward pass from its inputs, goes into what is returned, and gradients are
    not off. What one of the module's own layers or weights gives is left out: with its weights split over ranks, the
    parts are added up and every part has the gradient of the sum.

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
        if not isinstance(tensor, ast.Name) or _is_of_split_weights(function.node, tensor.id, call):
            continue
        if _has_a_gradient(function.node, tensor.id, call):
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
    used = _is_returned(function, name, call)
    detached = any(getattr(one, "attr", "") in ("detach", "item") for _, part in made_of for one in walk(part))
    return computed and products and used and bool(grown & inputs) and not detached


def _is_returned(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, name: str, call: Call) -> bool:
    """Say whether what is made of a name after the call is returned, kept or handed on."""
    grown = {name}
    later = [one for one in walk(function) if getattr(one, "lineno", 0) > call.node.lineno]
    for _ in range(4):
        for one in later:
            if isinstance(one, ast.Assign | ast.AugAssign | ast.AnnAssign) and one.value and grown & _names(one.value):
                targets = one.targets if isinstance(one, ast.Assign) else [one.target]
                grown |= {name for target in targets for name in _names(target)}
    ends = [one.value for one in later if isinstance(one, ast.Return | ast.Yield) and one.value is not None]
    return any(grown & _names(one) for one in ends)


def _names(node: ast.AST) -> set[str]:
    return {one.id for one in walk(node) if isinstance(one, ast.Name)} - {"self"}


def _is_of_split_weights(function: ast.AST, name: str, call: Call) -> bool:
    """Say whether a name is last made by a layer of the module's own, called or handed on, or by its weights.

    Tensor parallelism adds up the parts of a product whose weights are split over ranks; all ranks go on with the sum,
    whose gradient is that of every part.
    """
    before = [one for one in _made_of(function, name) if one[0] < call.node.lineno]
    made = max(before, key=lambda one: one[0], default=(0, None))[1]
    if isinstance(made, ast.Call):
        return any(_is_own(one) and "loss" not in ast.unparse(one) for one in (made.func, *made.args))
    return isinstance(made, ast.BinOp) and isinstance(made.op, ast.MatMult) and _is_own(made.right)


def _is_own(node: ast.expr) -> bool:
    """Say whether an expression is an attribute of `self`, or that transposed."""
    while isinstance(node, ast.Attribute) and node.attr in ("T", "mT"):
        node = node.value
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"


def _made_of(function: ast.AST, name: str) -> list[tuple[int, ast.expr]]:
    return [
        (node.lineno, node.value)
        for node in walk(function)
        if isinstance(node, ast.Assign)
        and any(isinstance(one, ast.Name) and one.id == name for target in node.targets for one in walk(target))
    ]
