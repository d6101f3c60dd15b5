"""A loss is made over ranks by a collective that has no gradient.

What it finds:
    `torch.distributed.all_reduce(x)` in the forward pass of a module, on a value computed there, whose result goes
    into what is returned. And features gathered by `all_gather`, also through a function of the project, that meet
    each other or the features of this rank in the similarities of a loss.

Why:
    Autograd does not see `all_reduce`: the values are those of all ranks, the gradient is that of one, divided by
    their number if the value was. Ranks train, but not what one process would. What `all_gather` returns is a constant,
    this rank's own part too: similarities of gathered features alone have no gradient at all.

How sure:
    The reduced tensor is computed in this forward pass from its inputs, goes into what is returned, and gradients are
    not off. What one of the module's own layers or weights gives is left out: with its weights split over ranks, the
    parts are added up and every part has the gradient of the sum. Gathered features are reported if the similarities
    go into a loss, or are returned by what is named one; not if the rank's own part is put back into the list, if the
    features were made without gradients, or if the other side of the product is not gathered as well, as with a queue.

When it is wrong:
    The value is a constant of the loss: statistics, or a count that has no gradient. Gathered negatives are constants
    on purpose, and the ranks' learning rate was found with that.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called
from trainworthy.check.static.external import is_module
from trainworthy.check.static.facts import Call
from trainworthy.check.static.gathered import Body, Gathered
from trainworthy.check.static.queries import is_a_test, once_per_place
from trainworthy.check.static.tree import nodes_of, own, unparsed, walk
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
    """Look at reductions in forward passes of losses, and at what losses gather."""
    yield from _of_gathered(analysis)
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


_SIMILARITY = re.compile(r"matmul|^b?mm$|einsum|dist(ance)?(_?mat(rix)?|s)?$|sim(ilarity)?$|cosine")
_LOSS = re.compile(r"loss|criterion|cross_entropy|nll|infonce|info_nce|ntxent|nt_xent|contrastive|triplet")
_NO_TRAINING = re.compile(
    r"(^|_)(val|valid|validate|validation|eval|evaluate|evaluation|test|metrics?|accuracy|recall)($|_)"
)


def _of_gathered(analysis: Analysis) -> Iterator[Hit]:
    """Yield what is gathered and meets itself, or what it was gathered of, in similarities of a loss."""
    if "gather" not in analysis.source.code or is_a_test(analysis.source):
        return
    for function in analysis.functions:
        body = function.node
        if not isinstance(body, Body) or _NO_TRAINING.search(function.name.lower()) or _is_without_gradient(body, None):
            continue
        gathered = Gathered(body, analysis.call_at)
        owner = function.owner.node.name.lower() if function.owner is not None else ""
        for name, other in _meetings(body, gathered):
            subject = gathered.of[name]
            if _is_without_gradient(body, subject) or not _goes_into_a_loss(body, other, f"{owner} {function.name}"):
                continue
            yield Hit(
                place=analysis.place(gathered.at[name]),
                message=f"`all_gather` has no gradient; to `{unparsed(other)[:60]}`, what it returns is a constant",
                fix="Use `torch.distributed.nn.all_gather`.",
            )
            break


def _meetings(body: Body, gathered: Gathered) -> Iterator[tuple[str, ast.expr]]:
    """Yield a gathered name and the similarities in which it meets itself, or what is gathered as well."""
    subjects = set(gathered.of.values())
    if not subjects:
        return
    for node in own(body):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
            sides = [node.left, node.right]
        elif isinstance(node, ast.Call) and _SIMILARITY.search(called(node)):
            sides = [one for one in node.args if not isinstance(one, ast.Constant | ast.Starred)]
            if isinstance(node.func, ast.Attribute) and called(node) in ("matmul", "mm", "bmm") and len(sides) == 1:
                sides.insert(0, node.func.value)
        else:
            continue
        if len(sides) < 2:
            continue
        for one, other in ((sides[0], sides[1]), (sides[1], sides[0])):
            name = next((n for n in sorted(_names(one)) if n in gathered.of), "")
            if name and gathered.subject(one) and (gathered.subject(other) or subjects & _names(other)):
                yield name, node
                break


def _is_without_gradient(body: Body, name: str | None) -> bool:
    """Say whether a function is without gradients, or computes a name so."""
    off = ("no_grad", "inference_mode")
    if name is None:
        return any(word in unparsed(one) for one in body.decorator_list for word in off)
    for node in own(body):
        quiet = isinstance(node, ast.With) and any(w in unparsed(i.context_expr) for i in node.items for w in off)
        parts = walk(node) if quiet else [node]
        for one in parts:
            if isinstance(one, ast.Assign) and any(name in _names(target) for target in one.targets):
                detached = {"detach", "data", "argmax", "long"} & {getattr(n, "attr", "") for n in walk(one.value)}
                if quiet or detached:
                    return True
    return False


def _goes_into_a_loss(body: Body, node: ast.AST, names: str) -> bool:
    """Say whether what an expression makes is handed to a loss, or returned by what is named one."""
    grown: set[str] = set()
    nodes = own(body)
    for _ in range(3):
        for one in nodes:
            if isinstance(one, ast.Assign | ast.AugAssign) and (grown & _names(one.value) or node in walk(one.value)):
                targets = one.targets if isinstance(one, ast.Assign) else [one.target]
                grown |= {name for target in targets for name in _names(target)}
    ends = [part for one in nodes for part in _into_a_loss(one, names)]
    return any(grown & _names(part) or node in walk(part) for part in ends)


def _into_a_loss(node: ast.AST, names: str) -> list[ast.expr]:
    """Return what a loss gets here, or what is returned where the names around are those of one."""
    if isinstance(node, ast.Call) and _LOSS.search(called(node).lower()):
        return [*node.args, *(one.value for one in node.keywords)]
    if isinstance(node, ast.Return) and node.value is not None and _LOSS.search(names.lower()):
        return [node.value]
    return []


def _has_a_gradient(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, name: str, call: Call) -> bool:
    """Say whether a name is made by products of a forward pass's arguments, and is used afterwards."""
    inputs = {arg.arg for arg in function.args.args} - {"self"}
    made_of = _made_of(function, name)
    computed = any(isinstance(part, ast.BinOp | ast.Call) for _, part in made_of)
    names = {one.id for _, part in made_of for one in nodes_of(part, ast.Name)}
    grown = set(names)
    for one in list(names):
        grown |= {n.id for _, part in _made_of(function, one) for n in nodes_of(part, ast.Name)}
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
    return {one.id for one in nodes_of(node, ast.Name)} - {"self"}


def _is_of_split_weights(function: ast.AST, name: str, call: Call) -> bool:
    """Say whether a name is last made by a layer of the module's own, called or handed on, or by its weights.

    Tensor parallelism adds up the parts of a product whose weights are split over ranks; all ranks go on with the sum,
    whose gradient is that of every part.
    """
    before = [one for one in _made_of(function, name) if one[0] < call.node.lineno]
    made = max(before, key=lambda one: one[0], default=(0, None))[1]
    if isinstance(made, ast.Call):
        return any(_is_own(one) and "loss" not in unparsed(one) for one in (made.func, *made.args))
    return isinstance(made, ast.BinOp) and isinstance(made.op, ast.MatMult) and _is_own(made.right)


def _is_own(node: ast.expr) -> bool:
    """Say whether an expression is an attribute of `self`, or that transposed."""
    while isinstance(node, ast.Attribute) and node.attr in ("T", "mT"):
        node = node.value
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"


def _made_of(function: ast.AST, name: str) -> list[tuple[int, ast.expr]]:
    return [
        (node.lineno, node.value)
        for node in nodes_of(function, ast.Assign)
        if any(isinstance(one, ast.Name) and one.id == name for target in node.targets for one in walk(target))
    ]
