"""Losses of micro-batches are added up, not averaged.

What it finds:
    `loss.backward()` in a loop over `gradient_accumulation_steps` (or with a step every so many batches), where
    nothing is ever divided by that number. Live: one line runs backward the same number of times before each of three
    steps in a row, and the loss is a mean as it stands.

Why:
    The gradient is that many times as large as that of the whole batch: with SGD the learning rate is multiplied, and
    clipping bites at another place.

How sure:
    The number's name says what it is, the loss is a mean as far as the source tells, and no division by that name
    occurs in the file. Silent with Accelerate, Fabric and DeepSpeed, which divide themselves, and with losses that
    are sums. Live it is a hint: sure of the graph, but Adam hardly notices.

When it is wrong:
    The loss is divided by a number of tokens that covers all micro-batches.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.live.runs import longest_run
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import counts, periodic_count
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Call, LoopNode
from trainworthy.check.static.queries import always_with, names_in, once_per_place, optimizer_steps, scaler_calls
from trainworthy.check.static.tree import children, walk

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

_DIVIDE_THEMSELVES = ("Accelerator", "accelerate", "Fabric", "deepspeed", "lightning", "pytorch_lightning")
_TOKENS = frozenset({"num_tokens", "ntokens", "n_tokens", "num_items_in_batch", "token_count"})


@rule(code="TW343", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at backwards in a loop over micro-batches, or before a step that is under such a count."""
    if analysis.mentions(*_DIVIDE_THEMSELVES, "size_average"):
        return
    steps = [*optimizer_steps(analysis), *scaler_calls(analysis, "step")]
    candidates = [
        (call, found)
        for call in once_per_place(analysis.method_calls("backward"))
        if not call.node.args
        and call.context.source is analysis.source
        and (found := _count_of(call, steps)) is not None
    ]
    divisors = _divisors(analysis) if candidates and not _may_be_a_sum(analysis) else _TOKENS
    if divisors & _TOKENS:
        return
    for call, (name, where) in candidates:
        if name not in divisors:
            yield Hit(
                place=analysis.place(call.node, call.context),
                message=f"the loss is not divided by `{name}`; gradients of the micro-batches add up",
                evidence=(Evidence("they are counted here", analysis.place(where, call.context)),),
                fix=f"Write `(loss / {name}).backward()`.",
            )


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


def _divisors(analysis: Analysis) -> set[str]:
    """Return the names of counts by which anything is divided."""
    found: set[str] = set()
    for source in analysis.sources:
        for node in walk(source.tree):
            if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
                right = node.right if isinstance(node, ast.BinOp) else node.value
                found |= set(counts(right)) | (names_in(right) & _TOKENS)
            elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("div", "div_", "true_divide"):
                found |= {name for argument in node.args for name in (*counts(argument), *names_in(argument))}
    return found


def _may_be_a_sum(analysis: Analysis) -> bool:
    """Say whether any loss is asked for something else than a mean."""
    return any(
        isinstance(node, ast.keyword)
        and node.arg == "reduction"
        and not (isinstance(node.value, ast.Constant) and node.value.value in ("mean", "batchmean"))
        for source in analysis.sources
        if "reduction" in source.words
        for node in _outside_of_evaluation(source.tree)
    )


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
