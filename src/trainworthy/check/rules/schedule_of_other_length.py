"""A learning-rate schedule is as long as the batches, but steps once per update.

What it finds:
    A schedule made for `len(loader) * epochs` steps whose `step()` runs only every `gradient_accumulation_steps`
    batches. Also one made for `len(data) * epochs` steps, one a sample, that steps with every batch of several.

Why:
    Only a part of the schedule is used: a linear one ends far above zero, a warm-up takes several times as long.

How sure:
    The number of steps names a loader's length and no count of accumulation, the schedule's own step is under a
    remainder by such a count, and both stand in one function. Silent if the count is mentioned in the schedule's
    arguments, or if its length is changed later.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import counts, has_remainder, last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import followed, integer, keyword
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import body_of, once_per_place, receiver
from trainworthy.check.static.tree import nodes_of, unparsed, walk

BAD = """\
import torch
from torch.optim.lr_scheduler import OneCycleLR


def train(model, loader, epochs, gradient_accumulation_steps=4):
    optimizer = torch.optim.AdamW(model.parameters())
    scheduler = OneCycleLR(optimizer, max_lr=1e-3, total_steps=len(loader) * epochs)  # <- TW348
    for epoch in range(epochs):
        for step, batch in enumerate(loader):
            (model(batch).mean() / gradient_accumulation_steps).backward()
            if (step + 1) % gradient_accumulation_steps == 0:
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
"""

GOOD = """\
import torch
from torch.optim.lr_scheduler import OneCycleLR


def train(model, loader, epochs, gradient_accumulation_steps=4):
    optimizer = torch.optim.AdamW(model.parameters())
    scheduler = OneCycleLR(optimizer, max_lr=1e-3, total_steps=len(loader) * epochs // gradient_accumulation_steps)
    for epoch in range(epochs):
        for step, batch in enumerate(loader):
            (model(batch).mean() / gradient_accumulation_steps).backward()
            if (step + 1) % gradient_accumulation_steps == 0:
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
"""

_LENGTHS = ("num_training_steps", "total_steps", "T_max", "total_iters", "steps_per_epoch", "t_total")


@rule(code="TW348", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at schedules with a length, and at their steps in the same function."""
    yield from _as_long_as_the_samples(analysis)
    steps = [one for one in analysis.method_calls("step") if _under_a_count(one)]
    for call in once_per_place(iter(analysis.all_calls)) if steps else ():
        length = next((one.value for one in call.node.keywords if one.arg in _LENGTHS), None)
        if length is None or call.context.source is not analysis.source:
            continue
        body = body_of(call.context)
        if not _names_a_loader(length, body) or any(True for one in call.node.keywords for _ in counts(one.value)):
            continue
        step = next(
            (one for one in steps if one.context.function is call.context.function and _made_here(one, call)), None
        )
        if step is not None:
            yield Hit(
                place=analysis.place(call.node, call.context),
                message="the schedule is planned for every batch, but takes a step once in several",
                evidence=(Evidence("its step is here", analysis.place(step.node, step.context)),),
                fix="Divide its length by the number of batches that make an update.",
            )


def _as_long_as_the_samples(analysis: Analysis) -> Iterator[Hit]:
    """Yield schedules planned for every sample of a set, `len(loader.dataset) * epochs`, whose steps are of batches."""
    if not {"DataLoader", "step"} <= analysis.source.words:
        return
    made = [one for one in analysis.all_calls if one.context.source is analysis.source and _is_a_schedule(one)]
    for call in once_per_place(iter(made)):
        scope = body_of(call.context)
        for given in call.node.keywords:
            length = followed(given.value, scope) if given.arg in _LENGTHS else None
            if length is None or any(isinstance(one, ast.Div | ast.FloorDiv) for one in _operators(length)):
                continue
            batches = _batches_of(analysis, length, scope)
            if batches is not None:
                yield Hit(
                    place=analysis.place(call.node, call.context),
                    message="the schedule is planned for every sample, but takes a step for every batch of them",
                    evidence=(Evidence("the batches are made here", analysis.place(batches)),),
                    fix="Take the length of the loader.",
                )


def _is_a_schedule(call: Call) -> bool:
    return "lr_scheduler" in call.name or "schedule" in call.method.lower()


def _operators(node: ast.expr) -> list[ast.operator]:
    return [one.op for one in nodes_of(node, ast.BinOp)]


def _batches_of(analysis: Analysis, length: ast.expr, scope: ast.AST) -> ast.Call | None:
    """Return the loader of batches of the samples that a length counts, times the epochs; None if there is none."""
    if not isinstance(length, ast.BinOp) or not isinstance(length.op, ast.Mult):
        return None
    for one in walk(length):
        if not isinstance(one, ast.Call) or getattr(one.func, "id", "") != "len" or len(one.args) != 1:
            continue
        counted = unparsed(one.args[0])
        for loader in analysis.calls("torch.utils.data.DataLoader"):
            size = keyword(loader.node, "batch_size")
            names = {
                unparsed(target)
                for node in nodes_of(scope, ast.Assign)
                if node.value is loader.node
                for target in node.targets
            }
            of_the_set = counted in {f"{name}.dataset" for name in names} or (
                bool(names) and bool(loader.node.args) and unparsed(loader.node.args[0]) == counted
            )
            if of_the_set and size is not None and integer(size) != 1 and _steps_within(scope, names):
                return loader.node
    return None


def _steps_within(scope: ast.AST, loaders: set[str]) -> bool:
    """Say whether a schedule steps in a loop over one of the loaders."""
    for loop in walk(scope):
        if isinstance(loop, ast.For) and {unparsed(part) for part in walk(loop.iter)} & loaders:
            calls = [unparsed(one.func) for one in nodes_of(loop, ast.Call)]
            if any("sched" in one and one.endswith(".step") for one in calls):
                return True
    return False


def _under_a_count(call: Call) -> bool:
    return any(
        truth and has_remainder(test) and any(True for _ in counts(test)) for test, truth in call.context.branches
    )


def _names_a_loader(length: ast.expr, body: ast.AST) -> bool:
    """Say whether a length is that of a loader times something without a count of micro-batches."""
    parts = [length]
    for node in walk(body):
        if isinstance(node, ast.Assign) and {last_name(one) for one in node.targets} & {n.id for n in _names(length)}:
            parts.append(node.value)
    if any(True for part in parts for _ in counts(part)):
        return False
    return any(
        isinstance(one, ast.Call) and getattr(one.func, "id", "") == "len" for part in parts for one in walk(part)
    )


def _names(node: ast.AST) -> list[ast.Name]:
    return nodes_of(node, ast.Name)


def _made_here(step: Call, made: Call) -> bool:
    """Say whether the receiver of a step has the name that the schedule was given."""
    for node in walk(body_of(made.context)):
        if isinstance(node, ast.Assign) and any(one is made.node for one in walk(node.value)):
            return receiver(step) in {unparsed(one) for one in node.targets}
    return False
