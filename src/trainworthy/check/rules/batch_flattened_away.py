"""The batch is flattened into the features of a layer.

What it finds:
    A `Linear` whose input has one axis, made in the same forward pass by flattening a tensor that begins with the batch
    of more than one sample. In the source: a gradient penalty, `(norm - 1) ** 2`, whose norm is taken of the whole
    result of `autograd.grad`, flattened with its batch or without an axis.

Why:
    `torch.flatten(x)` starts at axis 0, where `nn.Flatten` starts at 1: the layer then sees one sample that is as
    wide as the batch, and the model only runs at that batch size. A penalty holds the gradient of each sample at
    length 1; a norm over the batch grows with its size, and one number is held at 1 instead.

How sure:
    Sure of the shapes of the step, and of the calls in the source. Silent about gradients of parameters.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.dry.rows import batch_size, place_of
from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import (
    arguments_after_subject,
    called,
    followed,
    integer,
    keyword,
    scope_of,
    subject,
)
from trainworthy.check.static.tree import nodes_of, unparsed
from trainworthy.tape.record import Tape

BAD = """\
import torch


def penalty(critic, mixed):
    (gradient,) = torch.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)
    norm = gradient.flatten().norm(2)  # <- TW161
    return (norm - 1) ** 2
"""
GOOD = """\
import torch


def penalty(critic, mixed):
    (gradient,) = torch.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)
    norm = gradient.flatten(1).norm(2, dim=1)
    return ((norm - 1) ** 2).mean()
"""
DRY_BAD = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 4, 3), nn.Linear(8 * 4 * 6 * 6, 10)

    def forward(self, x):
        return self.fc(torch.flatten(self.conv(x)))  # <- TW161


model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(3):
    loss = model(torch.rand(8, 1, 8, 8)).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
DRY_GOOD = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 4, 3), nn.Linear(4 * 6 * 6, 10)

    def forward(self, x):
        return self.fc(torch.flatten(self.conv(x), 1))


model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(3):
    loss = torch.flatten(model(torch.rand(8, 1, 8, 8))).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""

_PRODUCTS = ("addmm", "mm", "mv", "addmv")


@rule(code="TW161", severity="error", depth="dry")
def find(tape: Tape) -> Iterator[Hit]:
    """Follow flattened tensors into products."""
    if not any(len(info.output_shape or (0, 0)) == 1 and info.class_name == "Linear" for info in tape.model):
        return
    size = batch_size(tape)
    if size is None or size < 2:
        return
    flat: dict[int, tuple[tuple[int, ...], Hit]] = {}
    for op in tape.ops:
        if op.step != tape.reference_step or op.phase not in ("forward", "loss"):
            continue
        name = op.name.partition(".")[0]
        if name in ("view", "_unsafe_view", "reshape") and op.inputs and op.outputs:
            before, after = op.inputs[0], op.outputs[0]
            if len(after.shape) == 1 and len(before.shape) > 1 and before.shape[0] == size:
                hit = Hit(
                    place=place_of(op.source, tape),
                    message=f"{_text(before.shape)} is flattened to {_text(after.shape)}: the {size} samples "
                    f"become the "
                    "features of one",
                    fix="torch.flatten(x, 1), or nn.Flatten().",
                )
                flat[after.storage] = (after.shape, hit)
        elif name in _PRODUCTS:
            for tensor in op.inputs:
                shape, known = flat.get(tensor.storage, ((), None))
                if known is not None and tensor.shape in (shape, (1, *shape)) and op.module:
                    yield Hit(
                        place=known.place, message=known.message, fix=known.fix,
                        evidence=(Evidence(f"it goes into {op.module} here", place_of(op.source, tape)),),
                    )  # fmt: skip
                    del flat[tensor.storage]


def _text(shape: tuple[int, ...]) -> str:
    return "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"


@rule(code="TW161", severity="error")
def find_in_source(analysis: Analysis) -> Iterator[Hit]:
    """Look at the norms of gradient penalties."""
    if "create_graph" not in analysis.source.words or "norm" not in analysis.source.words:
        return
    for norm in nodes_of(analysis.source.tree, ast.Call):
        if called(norm) in ("norm", "vector_norm") and _is_of_whole_batch(analysis, norm) and _is_held(analysis, norm):
            yield Hit(
                place=analysis.place(norm),
                message="the penalty's norm is of the gradients of the whole batch, as if they were one sample",
                fix="gradient.flatten(1).norm(2, dim=1).",
            )


def _is_of_whole_batch(analysis: Analysis, norm: ast.Call) -> bool:
    """Say whether a norm goes over all of a gradient that was taken in one call of `autograd.grad`."""
    scope = scope_of(norm, analysis.parents)
    whole = keyword(norm, "dim", "axis") is None and len(arguments_after_subject(norm)) < 2
    node = subject(norm)
    while node is not None:
        node = followed(node, scope)
        if isinstance(node, ast.BinOp) and isinstance(node.right, ast.Constant):
            node = node.left
        elif isinstance(node, ast.Subscript) and integer(node.slice) == 0:
            return whole and _is_input_gradient(node.value, scope)
        elif isinstance(node, ast.Call) and called(node) in ("flatten", "ravel", "view", "reshape", "contiguous"):
            axes = [integer(one) for one in arguments_after_subject(node)]
            whole = whole or (not node.keywords and axes == ([-1] if called(node) in ("view", "reshape") else []))
            node = subject(node)
        else:
            break
    return whole and isinstance(node, ast.Name) and _is_unpacked(node, scope)


def _is_unpacked(name: ast.Name, scope: ast.AST) -> bool:
    """Say whether a name is the only one that the result of `autograd.grad` is unpacked into."""
    given = [
        one
        for one in nodes_of(scope, ast.Assign)
        if any(isinstance(each, ast.Name) and each.id == name.id for each in _parts(one.targets[0]))
    ]
    target = given[0].targets[0] if len(given) == 1 else None
    alone = isinstance(target, ast.Tuple | ast.List) and len(target.elts) == 1
    return alone and _is_input_gradient(given[0].value, scope)


def _parts(target: ast.expr) -> list[ast.expr]:
    return target.elts if isinstance(target, ast.Tuple | ast.List) else [target]


def _is_input_gradient(node: ast.expr, scope: ast.AST) -> bool:
    """Say whether a call takes the gradient for an input, to be learnt from."""
    node = followed(node, scope)
    if not isinstance(node, ast.Call) or called(node) != "grad" or keyword(node, "create_graph") is None:
        return False
    of = keyword(node, "inputs") or (node.args[1] if len(node.args) > 1 else None)
    return of is not None and not any(word in unparsed(of).lower() for word in ("param", "weight"))


def _is_held(analysis: Analysis, norm: ast.Call) -> bool:
    """Say whether a number is taken away from a norm, itself or under its name."""
    scope = scope_of(norm, analysis.parents)
    differences = [one for one in nodes_of(scope, ast.BinOp) if isinstance(one.op, ast.Sub)]
    return any(
        isinstance(number, ast.Constant) and number.value == 1 and followed(other, scope) is norm
        for one in differences
        for other, number in ((one.left, one.right), (one.right, one.left))
    )
