"""Losses of micro-batches are added up, not averaged.

What it finds:
    `loss.backward()`, `scaler.scale(loss).backward()`, or `backward(loss)` of Fabric or Accelerate, in a loop over
    `gradient_accumulation_steps` (or with a step every so many batches), where neither the loss nor anything that it
    is made of is divided by that number. Live: one line runs backward the same number of times before each of three
    steps in a row, and the loss is a mean as it stands.

Why:
    The gradient is that many times as large as that of the whole batch: with SGD the learning rate is multiplied, and
    clipping bites at another place.

How sure:
    The number's name says what it is, the loss is a mean as far as the source tells, and no division by that name
    occurs in what the loss is made of, or in a function without a backward pass of its own; numbers that are only shown
    do not count. Silent with DeepSpeed, and with Accelerate that was told the number, which divide themselves, and with
    losses that are sums. Live it is a hint: sure of the graph, but Adam hardly notices.

When it is wrong:
    The loss is divided by a number of tokens that covers all micro-batches.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.live.runs import longest_run
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import counts, last_name, periodic_count
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called
from trainworthy.check.static.facts import Call, LoopNode
from trainworthy.check.static.queries import (
    always_with,
    body_of,
    names_in,
    once_per_place,
    optimizer_steps,
    receiver,
    scaler_calls,
)
from trainworthy.check.static.tree import children, nodes_of, own, walk

BAD = """\
import torch

gradient_accumulation_steps = 4
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(100):
    for micro_step in range(gradient_accumulation_steps):
        loss = model(torch.rand(8, 4)).mean()
        loss.backward()  # <- TW343
    optimizer.step()
    optimizer.zero_grad()
"""

GOOD = """\
import torch

gradient_accumulation_steps = 4
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(100):
    for micro_step in range(gradient_accumulation_steps):
        loss = model(torch.rand(8, 4)).mean() / gradient_accumulation_steps
        loss.backward()
    optimizer.step()
    optimizer.zero_grad()
"""

LIVE_BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for i in range(20):
    loss = nn.functional.cross_entropy(model(torch.randn(8, 4)), torch.randint(3, (8,)))
    loss.backward()  # <- TW343
    if i % 4 == 3:
        optimizer.step()
        optimizer.zero_grad()
"""
LIVE_GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for i in range(20):
    loss = nn.functional.cross_entropy(model(torch.randn(8, 4)), torch.randint(3, (8,)))
    (loss / 4).backward()
    if i % 4 == 3:
        optimizer.step()
        optimizer.zero_grad()
"""

_DIVIDE_THEMSELVES = ("deepspeed", "lightning", "pytorch_lightning", "Accelerator", "accelerate", "Fabric")
_TOKENS = frozenset({"num_tokens", "ntokens", "n_tokens", "num_items_in_batch", "token_count"})
_LAUNCHER = re.compile(r"(^|[._])(accelerator|fabric)$", re.IGNORECASE)
_TOLD = re.compile(r"\bAccelerator\([^()]*gradient_accumulation|GradientAccumulationPlugin|\.accumulate\(")
_DEEPSPEED = re.compile(r"^\s*import deepspeed|\bdeepspeed\.", re.MULTILINE)
_LOGGED = frozenset({"item", "detach", "cpu", "tolist"})
_SIMPLE = (ast.Expr, ast.Assign, ast.AugAssign, ast.AnnAssign)


@rule(code="TW343", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at backwards in a loop over micro-batches, or before a step that is under such a count."""
    if analysis.mentions("size_average"):
        return
    steps = [*optimizer_steps(analysis), *scaler_calls(analysis, "step")]
    candidates = [
        (call, loss, found)
        for call in once_per_place(analysis.method_calls("backward"))
        if call.context.source is analysis.source
        and (loss := _loss_of(analysis, call)) is not None
        and (found := _count_of(call, steps)) is not None
    ]
    if not candidates or _may_be_a_sum(analysis):
        return
    for call, loss, (name, where) in candidates:
        if not _may_be_divided(analysis, call, loss, name):
            yield Hit(
                place=analysis.place(call.node, call.context),
                message=f"the loss is not divided by `{name}`; gradients of the micro-batches add up",
                evidence=(Evidence("they are counted here", analysis.place(where, call.context)),),
                fix=f"Write `(loss / {name}).backward()`.",
            )


def _loss_of(analysis: Analysis, call: Call) -> ast.expr | None:
    """Return the loss of a backward pass, through a scaler or launcher; None where a library divides it."""
    if not isinstance(call.node.func, ast.Attribute):
        return None
    if call.node.args:
        by = _LAUNCHER.search(receiver(call))
        divides = by is None or (by[2].lower() == "accelerator" and any(_TOLD.search(s.code) for s in analysis.sources))
        other = any(_DEEPSPEED.search(source.code) for source in analysis.sources)
        return None if divides or other else call.node.args[0]
    if analysis.mentions(*_DIVIDE_THEMSELVES):
        return None
    scaled = call.node.func.value
    is_scaled = isinstance(scaled, ast.Call) and called(scaled) == "scale" and scaled.args
    return scaled.args[0] if is_scaled and isinstance(scaled, ast.Call) else scaled


def _may_be_divided(analysis: Analysis, call: Call, loss: ast.expr, name: str) -> bool:
    """Say whether a count of micro-batches or tokens has any part in a loss, here or where it may be computed."""
    body = body_of(call.context)
    if any(_is_of_counts(one) for one in _parts(loss, body)):
        return True
    others = _divisors(analysis, body)
    return name in others or bool(others & _TOKENS)


def _is_of_counts(node: ast.AST) -> bool:
    return any(True for _ in counts(node)) or bool(names_in(node) & _TOKENS)


def _parts(loss: ast.expr, body: ast.AST) -> list[ast.AST]:
    """Return what a loss is made of in a function: what its names are given, and what these are made of."""
    given: dict[str, list[ast.AST]] = {}
    for one in own(body) if isinstance(body, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef) else walk(body):
        if isinstance(one, ast.Assign | ast.AnnAssign | ast.AugAssign) and one.value is not None:
            shown = names_in(one.value) & _LOGGED or called(one.value) in ("prepare", "setup")
            for target in one.targets if isinstance(one, ast.Assign) else [one.target]:
                for name in () if shown else _bound(target):
                    given.setdefault(name, []).append(one.value)
        elif isinstance(one, ast.withitem) and one.optional_vars is not None:
            for name in names_in(one.optional_vars):
                given.setdefault(name, []).append(one.context_expr)
    found: list[ast.AST] = [loss]
    seen: set[str] = set()
    for part in found:  # which grows
        for name in names_in(part) - seen - {"self"}:
            seen.add(name)
            found += given.get(name, [])
    return found


def _count_of(call: Call, steps: list[Call]) -> tuple[str, ast.AST] | None:
    """Return the number of micro-batches and where it is used; the step must be outside of their loop."""
    for loop in call.context.loops:
        name = _range_of(loop)
        if name and any(_steps_after(call, loop, one) for one in steps):
            return name, loop
    for step in steps:
        same = step.context.function is call.context.function and step.context.loops == call.context.loops
        if not same or step.at < call.at or not always_with(call.context, step.context):
            continue
        for test, truth in step.context.branches:
            name = periodic_count(test, step.context)
            if truth and name and (test, truth) not in call.context.branches:
                return name, test
    return None


def _range_of(loop: LoopNode) -> str:
    iterable = loop.iter if isinstance(loop, ast.For) else None
    if (
        isinstance(iterable, ast.Call)
        and getattr(iterable.func, "id", "") in ("range", "trange")
        and len(iterable.args) == 1
    ):
        return next(counts(iterable.args[0]), "")
    return ""


def _steps_after(call: Call, loop: LoopNode, step: Call) -> bool:
    return step.context.function is call.context.function and loop not in step.context.loops and step.at > call.at


def _bound(target: ast.expr) -> set[str]:
    """Return what an assignment binds: variables, and attributes by their last name."""
    parts = target.elts if isinstance(target, ast.Tuple | ast.List) else [target]
    return {last_name(one.value if isinstance(one, ast.Subscript | ast.Starred) else one) for one in parts}


def _divisors(analysis: Analysis, body: ast.AST) -> set[str]:
    """Return the names of counts by which anything else is divided: gradients, a rate, what a function returns.

    Not what a statement divides that has a backward pass of its own, or another function that has one: that is another
    loss; nor numbers that are only shown.
    """
    found: set[str] = set()
    for source in analysis.sources:
        left: list[ast.AST] = [source.tree]
        while left:
            node = left.pop()
            is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node is not body
            if (is_function or isinstance(node, _SIMPLE)) and "backward" in names_in(node):
                left += [one for one in nodes_of(node, ast.FunctionDef) if one is not node]
                continue
            left += children(node)
            found |= _divides_by(node)
    return found


def _divides_by(node: ast.AST) -> set[str]:
    if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
        top, below = (node.left, node.right) if isinstance(node, ast.BinOp) else (node.target, node.value)
        return set() if names_in(top) & {*_LOGGED, "len"} else set(counts(below)) | (names_in(below) & _TOKENS)
    if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("div", "div_", "true_divide"):
        return {name for argument in node.args for name in (*counts(argument), *names_in(argument))}
    return set()


def _may_be_a_sum(analysis: Analysis) -> bool:
    """Say whether any loss is asked for something else than a mean."""
    for source in analysis.sources:
        nodes = list(_outside_of_evaluation(source.tree)) if "reduction" in source.words else []
        usual = {name for one in nodes if isinstance(one, ast.arguments) for name in _means_by_default(one)}
        averaging = {
            one
            for function in nodes
            if isinstance(function, ast.FunctionDef) and _averages(function)
            for one in walk(function)
        }
        for node in nodes:
            if isinstance(node, ast.keyword) and node.arg == "reduction":
                said = node.value.value if isinstance(node.value, ast.Constant) else None
                by_hand = said == "none" and node in averaging
                if said not in ("mean", "batchmean") and not by_hand and getattr(node.value, "id", "") not in usual:
                    return True
    return False


def _averages(function: ast.FunctionDef) -> bool:
    """Say whether a function makes a mean of what it computes for each sample."""
    return any(
        (isinstance(one, ast.Call) and called(one) in ("mean", "masked_mean"))
        or (isinstance(one, ast.BinOp) and isinstance(one.op, ast.Div) and not isinstance(one.right, ast.Constant))
        for one in walk(function)
    )


def _means_by_default(arguments: ast.arguments) -> Iterator[str]:
    """Yield the parameters of a function that are ``"mean"`` unless somebody says otherwise."""
    positional = [*arguments.posonlyargs, *arguments.args]
    last = positional[len(positional) - len(arguments.defaults) :]
    for arg, default in [
        *zip(last, arguments.defaults, strict=True),
        *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
    ]:
        if isinstance(default, ast.Constant) and default.value == "mean":
            yield arg.arg


def _outside_of_evaluation(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield the nodes of a file but for those of functions that evaluate: their losses are not learned from."""
    left: list[ast.AST] = [tree]
    while left:
        node = left.pop()
        names = names_in(node) if isinstance(node, ast.FunctionDef) else set()
        if not names & {"no_grad", "inference_mode", "eval"} or "backward" in names:
            yield node
            left += children(node)


@rule(code="TW343", severity="warning", depth="live")
def find_live(facts: LiveFacts) -> Iterator[Hit]:
    """Yield lines that do so in three windows."""
    if len({s.optimizer for s in facts.steps}) != 1 or any(s.stale for s in facts.steps):
        return
    windows = [[b for b in facts.backwards if b.step == s.step] for s in facts.steps]
    run = longest_run(windows, lambda w: len(w) >= 2 and len({b.place for b in w}) == 1 and all(b.is_mean for b in w))
    if len(run) >= 3 and len({len(w) for w in run}) == 1 and len({w[0].place for w in run}) == 1:
        count = len(run[0])
        yield Hit(
            place=run[0][0].place,
            severity="hint",
            message=f"{count} backward passes of means go into each step, and none is divided by {count}",
            evidence=(Evidence(f"in {len(run)} steps in a row"),),
            fix=f"(loss / {count}).backward()",
        )
