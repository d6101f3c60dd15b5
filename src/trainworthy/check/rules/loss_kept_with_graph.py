"""A running sum keeps the graph of every step.

What it finds:
    `total += loss` in a loop, where `loss` is the value of one of torch's losses, or a part of one, was passed to
    `backward`, and `total` is only reported; `total.add_(loss)`; `losses.append(loss)`; the same of
    `error.abs().mean()` where the loss is made of `error` alone; and a part of the loss that is put, as it is, into a
    dict whose other entries are detached.

Why:
    The sum holds the graph of every batch, so memory grows until the epoch ends.

How sure:
    The sum starts as a number and nothing calls `backward` on it or hands it to a function that might. Silent where
    the sum begins anew in the loop, or in a loop around it that is none of epochs: it never holds many graphs.

In real steps:
    At two steps or more, the graphs of three or more losses from at least three steps ago were alive. Or each of four
    backward passes in a row, from one line, goes through the whole graph of the one before and on (`retain_graph=True`,
    with a hidden state that is not detached).

On a rehearsal:
    In the third step or later, the graphs of all steps so far are alive.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise

from trainworthy.check.dry.notes import noted, place_in
from trainworthy.check.finding import Edit, Evidence, Hit, Place
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Context, Operation
from trainworthy.check.static.queries import body_of, once_per_place, same_turn
from trainworthy.check.static.running_sums import appended_beside_numbers, kept_graphs
from trainworthy.check.static.tree import nodes_of, unparsed, walk
from trainworthy.check.static.values import Const, Tensor
from trainworthy.tape.record import Tape

BAD = """\
import torch
import torch.nn.functional as F

model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
total = 0.0
for x in torch.rand(10, 8, 4):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), torch.zeros(8).long())
    loss.backward()
    optimizer.step()
    total += loss  # <- TW315
print(total / 10)
"""

GOOD = """\
import torch
import torch.nn.functional as F

model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
total = 0.0
for x in torch.rand(10, 8, 4):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), torch.zeros(8).long())
    loss.backward()
    optimizer.step()
    total += loss.item()
print(total / 10)
"""


@rule(code="TW315", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at += of a loss that backward has used."""
    yield from _added_in_place(analysis)
    yield from _kept_beside_detached(analysis)
    for call, other in appended_beside_numbers(analysis):
        yield Hit(
            place=analysis.place(call),
            message=f"`{unparsed(call.args[0])}` is kept in a list with its graph",
            evidence=(Evidence("of another, the number is kept", analysis.place(other)),),
            fix=f"Append `{unparsed(call.args[0])}.item()`.",
        )
    backwards = list(analysis.method_calls("backward"))
    seen: set[ast.AST] = set()
    for kept in kept_graphs(analysis):
        if kept.statement not in seen:
            seen.add(kept.statement)
            if not kept.few:
                yield _hit(analysis, kept.statement, kept.loss, analysis.place(kept.backward))
    for operation in analysis.operations:
        node = operation.node
        if not isinstance(node, ast.AugAssign) or not isinstance(node.op, ast.Add) or not operation.context.loops:
            continue
        left, right = operation.operands
        number = isinstance(left, Const) and isinstance(left.value, int | float)
        if not number or not isinstance(right, Tensor) or not right.loss or node in seen or _no_graph(operation):
            continue
        used = [
            one
            for one in backwards
            if same_turn(one.context, operation.context)
            and _name(getattr(one.node.func, "value", None)) == _name(node.value)
        ]
        if not used or not isinstance(node.target, ast.Name) or _needed(operation, node.target.id):
            continue
        seen.add(node)
        yield _hit(analysis, node, node.value, analysis.place(used[0].node, used[0].context), operation.context)


def _hit(analysis: Analysis, statement: ast.AST, loss: ast.expr, used: Place, context: Context | None = None) -> Hit:
    text = analysis.segment(loss, context)
    return Hit(
        place=analysis.place(statement, context),
        message=f"the {'list' if isinstance(statement, ast.Expr) else 'sum'} keeps the graph of every step in memory",
        evidence=(Evidence("the graph was used here", used),),
        fix=f"{'Append' if isinstance(statement, ast.Expr) else 'Add'} `loss.item()` or `loss.detach()`.",
        edits=(Edit(analysis.place(loss, context), f"{text}.detach()"),) if isinstance(loss, ast.Name) else (),
    )


def _added_in_place(analysis: Analysis) -> Iterator[Hit]:
    """Yield `total.add_(loss)` as a statement, where backward has used the loss and gradients are on."""
    statements = {node.value for node in analysis.nodes.get(ast.Expr, ()) if isinstance(node, ast.Expr)}
    for call in once_per_place(analysis.method_calls("add_")):
        argument = call.node.args[0] if len(call.node.args) == 1 and not call.node.keywords else None
        if call.node not in statements or not isinstance(argument, ast.Name) or call.context.under(*_OFF):
            continue
        body = body_of(call.context)
        used = next((one for one in walk(body) if _goes_back_through(one, argument.id)), None)
        if used is None or _is_cut(body, argument.id) or ".data" in unparsed(call.node.func):
            continue
        yield Hit(
            place=analysis.place(call.node, call.context),
            message="the sum keeps the graph of every step in memory",
            evidence=(Evidence("the graph was used here", analysis.place(used, call.context)),),
            fix=f"Add `{argument.id}.detach()`.",
        )


def _kept_beside_detached(analysis: Analysis) -> Iterator[Hit]:
    """Yield entries of a table of metrics that are part of the loss, with its graph, beside others that are cut off."""
    lines = [one.lineno for one in analysis.nodes.get(ast.Assign, []) if isinstance(one, ast.Assign) and _table(one)]
    for function in analysis.functions:
        last = getattr(function.node, "end_lineno", None) or 0
        if isinstance(function.node, ast.Lambda) or not any(function.node.lineno < line <= last for line in lines):
            continue
        entries = [
            node
            for node in nodes_of(function.node, ast.Assign)
            if isinstance(node.targets[0], ast.Subscript) and isinstance(node.targets[0].value, ast.Name)
        ]
        for entry in entries:
            name = _only_reduced(entry.value)
            table = [one for one in entries if _table(one) == _table(entry)]
            cut = [one for one in table if _CUT.search(unparsed(one.value))]
            if len(cut) < max(2, len(table) / 3) or entry in cut or not name or _is_cut(function.node, name):
                continue
            total = next((one for one in walk(function.node) if _adds_to_loss(one, name)), None)
            if total is not None:
                yield Hit(
                    place=analysis.source.place(entry.value),
                    message=f"`{name}` is kept among the metrics with its graph",
                    evidence=(
                        Evidence("it is a part of the loss", analysis.source.place(total)),
                        Evidence("others are cut off", analysis.source.place(cut[0])),
                    ),
                    fix=f"Keep `{name}.detach()`.",
                )


def _table(entry: ast.Assign) -> str:
    target = entry.targets[0]
    return _name(target.value) if isinstance(target, ast.Subscript) else ""


_CUT = re.compile(r"\.(detach|item|data)\b")
_REDUCTIONS = frozenset({"mean", "sum", "cpu", "float", "to"})


def _only_reduced(node: ast.expr) -> str:
    """Name what is kept as it is, or as its mean or sum on another device; "" for anything else."""
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _REDUCTIONS:
        node = node.func.value
    return _name(node)


def _adds_to_loss(node: ast.AST, name: str) -> bool:
    """Say whether a loss is made by adding something to a name that is called a loss, too."""
    return (
        isinstance(node, ast.Assign | ast.AugAssign)
        and "loss" in name
        and any("loss" in _name(one) for one in (node.targets if isinstance(node, ast.Assign) else [node.target]))
        and _is_summand(node.value, name)
    )


def _is_summand(node: ast.expr, name: str) -> bool:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub | ast.Mult | ast.Div):
        return _is_summand(node.left, name) or _is_summand(node.right, name)
    return _name(node) == name


_OFF = ("torch.no_grad", "torch.inference_mode")


def _goes_back_through(node: ast.AST, name: str) -> bool:
    """Say whether a node is ``name.backward()``, also of a scaled or divided loss."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.func.attr != "backward":
        return False
    return any(isinstance(one, ast.Name) and one.id == name for one in walk(node.func.value))


def _is_cut(body: ast.AST, name: str) -> bool:
    """Say whether a name is bound to its own detached value or number anywhere."""
    return any(
        isinstance(node, ast.Assign)
        and any(_name(target) == name for target in node.targets)
        and any(getattr(one, "attr", "") in ("detach", "item", "data") for one in walk(node.value))
        for node in walk(body)
    )


def _name(node: ast.AST | None) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _no_graph(operation: Operation) -> bool:
    return operation.context.under("torch.no_grad", "torch.inference_mode")


def _needed(operation: Operation, name: str) -> bool:
    """Say whether something may call backward on the sum."""
    return any(_keeps(node, name) for node in walk(body_of(operation.context)))


def _keeps(node: ast.AST, name: str) -> bool:
    if isinstance(node, ast.Attribute) and node.attr == "backward":
        return any(isinstance(one, ast.Name) and one.id == name for one in walk(node.value))
    if isinstance(node, ast.Assign) and not isinstance(node.value, ast.Constant):
        return any(isinstance(one, ast.Name) and one.id == name for one in node.targets)
    return False


LIVE_BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

total = 0.0
for step in range(12):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()  # <- TW315
    optimizer.step()
    total += loss
"""
LIVE_GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

total, losses = 0.0, []
for step in range(12):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    total += loss.item()
    losses.append(loss.detach())
"""


@rule(code="TW315", severity="warning", depth="live")
def find_live(facts: LiveFacts) -> Iterator[Hit]:
    """Yield once."""
    if len(facts.kept) >= 2 and facts.kept[-1].alive > facts.kept[0].alive:
        last = facts.kept[-1]
        yield Hit(
            place=last.place,
            message=f"The graphs of {last.alive} losses from at least {last.steps} steps ago are still alive",
            evidence=(Evidence(f"{facts.kept[0].alive} at first, {last.alive} at the end of the look"),),
            fix="Keep numbers: loss.item() or loss.detach().",
        )
    for place in dict.fromkeys(b.place for b in facts.backwards):
        passes = [b for b in facts.backwards if b.place == place][:_PASSES]
        again = [b.num_reused or 0 for b in passes]
        if len(again) == _PASSES and all(a < b for a, b in pairwise(again)):
            yield Hit(
                place=place,
                message=f"each backward pass goes through the graphs of all before it: {again[-1]:,} of the "
                f"{passes[-1].num_graph_nodes:,} nodes of number {_PASSES} were used by number {_PASSES - 1}",
                evidence=(Evidence("nodes so far: " + ", ".join(f"{b.num_graph_nodes:,}" for b in passes)),),
                fix="Detach what is handed on from one to the next: hidden = hidden.detach().",
            )


_PASSES = 4


@rule(code="TW315", severity="warning", depth="dry")
def find_on_tape(tape: Tape) -> Iterator[Hit]:
    """Yield once, if in the third step or later the graphs of three steps or more are alive, and of all so far."""
    kept = [entry for entry in noted(tape, "graphs") if entry[0] >= 3 and entry[1] >= entry[0]]
    if kept:
        step, alive, path, line = kept[-1]
        yield Hit(
            place=place_in({"path": path, "line": line}, tape),
            message=f"In step {step} the graphs of all {alive} steps so far are still alive",
            fix="Keep numbers: loss.item() or loss.detach().",
        )
