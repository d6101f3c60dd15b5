"""Backward is called on a copy of the loss that has no graph.

What it finds:
    `torch.tensor(loss, requires_grad=True).backward()`, also through `Variable(loss.data, requires_grad=True)`; and
    `loss.requires_grad_(True)` right before `loss.backward()`.

Why:
    `requires_grad=True` quietens the error that a loss has no graph. The gradient ends at the copy; no parameter
    gets one.

How sure:
    The tensor that backward is called on is made in the same function by `torch.tensor`, from something that is not
    a literal. A loss that is only told to require gradients may have a graph all the same: then the line does nothing.

In real steps:
    The graph of a loss holds no nn.Parameter, twice, and the optimizer steps all the same.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.backward_losses import loss_of_backward
from trainworthy.check.static.bindings import Def, functions_of
from trainworthy.check.static.tree import nodes_of, own, unparsed, walk
from trainworthy.check.static.values import Const, Sequence, Tensor

BAD = """\
import torch

model = torch.nn.Linear(4, 1)
value = model(torch.rand(8, 4)).mean()
loss = torch.tensor(value, requires_grad=True)
loss.backward()  # <- TW321
"""

GOOD = """\
import torch

model = torch.nn.Linear(4, 1)
loss = model(torch.rand(8, 4)).mean()
loss.backward()
x = torch.tensor(2.0, requires_grad=True)
(x * x).backward()
"""


@rule(code="TW321", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at what backward is called on."""
    yield from _switched_on_losses(analysis)
    for call in analysis.calls("torch.Tensor.backward"):
        owner = call.owner
        made = owner.made_by if isinstance(owner, Tensor) else None
        if made is None or made.name not in ("torch.tensor", "torch.as_tensor") or not made.args:
            continue
        if made.constant(None, "requires_grad") is not True or made.result is not owner:
            continue
        first = made.args[0]
        if isinstance(first, Const | Sequence):
            continue
        yield Hit(
            place=analysis.place(call.node, call.context),
            message="the loss is a copy without a graph, so no parameter gets a gradient",
            evidence=(Evidence("the copy is made here", analysis.place(made.node, made.context)),),
            fix="Call backward on the loss itself; do not wrap it in `torch.tensor`.",
        )


def _switched_on_losses(analysis: Analysis) -> Iterator[Hit]:
    """Yield losses that are told to require gradients right before backward: one with a graph does so anyway."""
    if "backward" not in analysis.source.words or not analysis.source.words & {"requires_grad", "requires_grad_"}:
        return
    for function in [analysis.source.tree, *functions_of(analysis.nodes)]:
        for block in _blocks(function):
            for at, statement in enumerate(block):
                name = _switched_on(statement)
                sent = next((one for one in block[at + 1 : at + 6] if _goes_back(one, name)), None) if name else None
                if sent is not None:
                    yield Hit(
                        place=analysis.source.place(statement),
                        severity=None if isinstance(statement, ast.Assign) and _is_leaf(statement.value) else "warning",
                        message=f"`{name}` is made to require gradients, as every loss with a graph does: if that is "
                        "needed, no parameter gets one",
                        evidence=(Evidence("backward is called on it here", analysis.source.place(sent)),),
                        fix="Find what cut the graph (`.item()`, `.data`, `.detach()`, NumPy, argmax) and mend that.",
                    )


def _blocks(function: ast.Module | Def) -> Iterator[list[ast.stmt]]:
    """Yield the bodies of a function and of what branches and loops in it."""
    yield function.body
    for node in own(function):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list) and not isinstance(node, ast.ClassDef | Def):
                yield block


def _switched_on(node: ast.stmt) -> str:
    """Name the loss that a statement makes a leaf, or tells to require gradients."""
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target, value = node.targets[0], node.value
        if isinstance(target, ast.Attribute) and target.attr == "requires_grad":
            return _a_loss(target.value) if getattr(value, "value", None) is True else ""
        if _is_leaf(value):
            return _a_loss(target)
    call = node.value if isinstance(node, ast.Expr | ast.Assign) else None
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "requires_grad_":
        return _a_loss(call.func.value) if not call.args or _is_true(call.args[0]) else ""
    return ""


def _is_leaf(node: ast.expr) -> bool:
    """Say whether something is `Variable(x.data, requires_grad=True)`: a leaf made of what is cut from its graph."""
    if not isinstance(node, ast.Call) or unparsed(node.func) not in ("Variable", "torch.autograd.Variable"):
        return False
    cut = any(getattr(one, "attr", "") in ("data", "item", "detach", "numpy") for one in walk(node))
    return cut and any(one.arg == "requires_grad" and _is_true(one.value) for one in node.keywords)


def _is_true(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is True


def _a_loss(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) and "loss" in node.id.lower() else ""


def _goes_back(node: ast.stmt, name: str) -> bool:
    calls = (one for one in nodes_of(node, ast.Call))
    return isinstance(node, ast.Expr) and any(loss_of_backward(one) == name for one in calls)


LIVE_BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for step in range(4):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)
    loss = torch.tensor(loss.item(), requires_grad=True)
    optimizer.zero_grad()
    loss.backward()  # <- TW321
    optimizer.step()
"""
LIVE_GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for step in range(4):
    x, y = torch.randn(8, 4, requires_grad=True), torch.randint(3, (8,))
    nn.functional.cross_entropy(model(x), y).backward()
    x.grad.norm()
    optimizer.step()
    optimizer.zero_grad()
"""


@rule(code="TW321", severity="error", depth="live")
def find_live(facts: LiveFacts) -> Iterator[Hit]:
    """Yield backward passes without a parameter before two steps."""
    parameters = {s.step for s in facts.steps if s.trainable and s.num_without_gradient == s.trainable}
    by_step: dict[int, list[bool]] = {}
    for b in facts.backwards:
        if b.reaches_parameter is not None:
            by_step.setdefault(b.step, []).append(b.reaches_parameter)
    empty = [n for n, reached in by_step.items() if not any(reached) and n in parameters]
    if len(empty) >= 2:
        first = next(b for b in facts.backwards if b.step == empty[0])
        yield Hit(
            place=first.place,
            message=f"The graph of this loss holds no nn.Parameter (in {len(empty)} steps): nothing can be "
            "learnt from it",
            evidence=(Evidence(f"{first.num_graph_nodes} nodes in the graph"),),
            fix="Do not rebuild the loss from numbers: no .item(), .detach(), torch.tensor(loss) on the way.",
        )
