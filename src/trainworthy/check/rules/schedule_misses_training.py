"""The learning-rate schedule does not fit the training: it ends long before, or long after.

What it finds:
    In the source: `OneCycleLR(total_steps=...)` or a transformers schedule with `num_training_steps=...` whose number
    is made of `len(loader)` and numbers, stepped once a batch within a loop over epochs; and
    `CosineAnnealingLR(T_max=epochs)` that is stepped once a batch; and a number of steps that is made of `len(loader)`
    divided by the batch size of that loader, whose length is the number of its batches already.
    On a rehearsal the schedule is played to the end of the planned training. The rate is at most a millionth of its
    highest for more than half of it, becomes negative, the schedule refuses to go so far, or its horizon counts epochs
    while it moves in every step, or steps while it moves once an epoch.
    Live: a `LambdaLR` that moves once a step and whose rate is (almost) 0 from a step on that lies before 70 % of the
    plan; or a schedule as long as there are epochs, or whose drops all lie within so many moves, that moves once a
    step.

Why:
    `CosineAnnealingLR(T_max=epochs)` stepped once a batch rises and falls through the whole training;
    `OneCycleLR(total_steps=epochs * len(loader))` stepped once an epoch never leaves its warm-up; a number of steps
    that was divided by the accumulation twice, or is that of one epoch, leaves a rate of 0 for the rest. Nothing fails.

How sure:
    How often it moves in a step is seen; how many steps there will be is read from the loops: only `for` over `range`
    of known numbers and over a DataLoader, with no `break` or `return` that could be taken. Anything else is not
    judged. That T_max is the number of epochs, and nothing else, is taken for the proof that epochs were meant. A loop
    that leaves by a limit of steps is stopped before: then the training is too short.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from trainworthy.check.dry.notes import noted, place_in
from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Call
from trainworthy.check.static.loader_lengths import divided_twice
from trainworthy.check.static.queries import once_per_place
from trainworthy.check.static.tree import nodes_of, unparsed, walk
from trainworthy.tape.record import Tape

BAD = """\
import torch

net = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
loader = torch.utils.data.DataLoader(torch.rand(64, 4), batch_size=8)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=len(loader))  # <- TW320
for epoch in range(10):
    for x in loader:
        net(x).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
"""
GOOD = """\
import torch

net = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
loader = torch.utils.data.DataLoader(torch.rand(64, 4), batch_size=8)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=10 * len(loader))
for epoch in range(10):
    for x in loader:
        net(x).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
"""
DRY_BAD = """\
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

loader = DataLoader(TensorDataset(torch.rand(96, 4)), batch_size=4)
model = nn.Linear(4, 1).cuda()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)  # <- TW320
for epoch in range(10):
    for (x,) in loader:
        loss = model(x.cuda()).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
"""
DRY_GOOD = """\
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

loader = DataLoader(TensorDataset(torch.rand(96, 4)), batch_size=4)
model = nn.Linear(4, 1).cuda()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10 * len(loader))
for epoch in range(10):
    for (x,) in loader:
        loss = model(x.cuda()).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
"""
LIVE_BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
from torch.utils.data import DataLoader, TensorDataset

model = nn.Linear(4, 1)
loader = DataLoader(TensorDataset(torch.randn(64, 4)), batch_size=4, shuffle=True)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: max(0.0, 1 - n / len(loader)))
for epoch in range(3):
    for (x,) in loader:
        loss = model(x).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()  # <- TW320
"""
LIVE_GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
from torch.utils.data import DataLoader, TensorDataset

model = nn.Linear(4, 1)
loader = DataLoader(TensorDataset(torch.randn(64, 4)), batch_size=4, shuffle=True)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: max(0.0, 1 - n / (2 * len(loader))))
for epoch in range(2):
    for (x,) in loader:
        loss = model(x).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
"""

_TOTALS = {"OneCycleLR": (2, "total_steps")}
_WARMUPS = ("get_linear_schedule_with_warmup", "get_cosine_schedule_with_warmup",
            "get_polynomial_decay_schedule_with_warmup")  # fmt: skip


@rule(code="TW320", severity="error")
def find_in_source(analysis: Analysis) -> Iterator[Hit]:
    """Look at schedules that are told how many steps there are."""
    yield from _of_epochs(analysis)
    for node, divided, size in divided_twice(analysis):
        yield Hit(
            place=analysis.place(node),
            message=f"`len({divided})` is the number of batches, and is divided by their size, `{size}`",
            fix="Divide the number of samples, len(dataset), or take len(loader) as it is.",
        )
    if not analysis.source.words.intersection(("OneCycleLR", *_WARMUPS)):
        return
    for call in once_per_place(iter(analysis.all_calls)):
        name = call.name.rpartition(".")[2]
        at, keyword = _TOTALS.get(name, (2, "num_training_steps") if name in _WARMUPS else (None, ""))
        total = call.argument_node(at, keyword) if keyword else None
        loader = _loader_of(total) if total is not None else None
        if loader is None:
            continue
        step = _stepped_in_epochs(analysis, call, loader)
        if step is not None:
            yield Hit(
                place=analysis.place(call.node, call.context),
                message=f"the schedule ends after `{unparsed(total)}` steps, one epoch or less, and is stepped in "  # type: ignore[arg-type]
                "every epoch",
                evidence=(Evidence("it is stepped here", analysis.place(step.node, step.context)),),
                fix=f"Multiply by the number of epochs: epochs * len({loader}).",
            )


def _of_epochs(analysis: Analysis) -> Iterator[Hit]:
    """Yield cosines that are as long as there are epochs and move once a batch."""
    if "CosineAnnealingLR" not in analysis.source.words:
        return
    for call in once_per_place(analysis.calls("torch.optim.lr_scheduler.CosineAnnealingLR")):
        length = call.argument_node(1, "T_max")
        if length is None or call.context.source is not analysis.source or not _is_epochs(length):
            continue
        for step in analysis.method_calls("step"):
            func = step.node.func
            holder = unparsed(func.value) if isinstance(func, ast.Attribute) else ""
            if step.node.args or not _is_assigned_to(analysis, call.node, holder) or step.context.branches:
                continue
            loops = [one for one in step.context.loops if isinstance(one, ast.For)]
            if len(loops) == 2 and _goes_over(loops[0], "epoch") and not _goes_over(loops[1], "epoch"):
                yield Hit(
                    place=analysis.place(call.node, call.context),
                    message=f"the schedule is as long as `{unparsed(length)}`, and moves in every batch: the rate "
                    "rises and falls all through the training",
                    evidence=(Evidence("it is stepped here", analysis.place(step.node, step.context)),),
                    fix="Step it once an epoch, or multiply its length by the number of batches.",
                )
                break


def _is_epochs(length: ast.expr) -> bool:
    """Say whether a number is that of the epochs and nothing else."""
    text = unparsed(length).lower()
    plain = isinstance(length, ast.Name | ast.Attribute | ast.Subscript)
    return plain and "epoch" in text and not any(one in text for one in ("step", "iter", "batch", "per"))


def _is_assigned_to(analysis: Analysis, value: ast.AST, holder: str) -> bool:
    return any(
        isinstance(one, ast.Assign) and one.value is value and holder in [unparsed(target) for target in one.targets]
        for one in analysis.nodes.get(ast.Assign, ())
    )


def _goes_over(loop: ast.For, word: str) -> bool:
    return word in unparsed(loop.target).lower() or word in unparsed(loop.iter).lower()


def _loader_of(total: ast.expr) -> str | None:
    """Return the loader whose length a number is made of, if it is made of nothing but that and numbers."""
    lengths = [
        one for one in nodes_of(total, ast.Call)
        if isinstance(one.func, ast.Name) and one.func.id == "len"
    ]  # fmt: skip
    if len(lengths) != 1 or len(lengths[0].args) != 1 or not isinstance(lengths[0].args[0], ast.Name):
        return None
    loader = lengths[0].args[0].id
    names = {one.id for one in nodes_of(total, ast.Name)}
    grows = any(isinstance(getattr(one, "op", None), ast.Mult | ast.Pow) for one in walk(total))
    return loader if names <= {loader, "len", "int", "math"} and not grows else None


def _stepped_in_epochs(analysis: Analysis, made: Call, loader: str) -> Call | None:
    for step in analysis.method_calls("step"):
        func = step.node.func
        name = func.value.id if isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name) else None
        if name is None or not _is_assigned(analysis, made.node, name):
            continue
        loops = [one for one in step.context.all_loops() if isinstance(one, ast.For)]
        if len(loops) >= 2 and loader in {getattr(n, "id", "") for n in walk(loops[-1].iter)}:
            outer = loops[-2].iter
            if isinstance(outer, ast.Call) and any(getattr(n, "id", "") == "range" for n in walk(outer)):
                return None if _is_one(outer) else step
    return None


def _is_assigned(analysis: Analysis, value: ast.AST, name: str) -> bool:
    return any(
        isinstance(one, ast.Assign) and one.value is value and any(getattr(t, "id", "") == name for t in one.targets)
        for one in analysis.nodes.get(ast.Assign, ())
    )


def _is_one(node: ast.Call) -> bool:
    return len(node.args) == 1 and isinstance(node.args[0], ast.Constant) and node.args[0].value == 1


@rule(code="TW320", severity="error", depth="dry")
def find_on_tape(tape: Tape) -> Iterator[Hit]:
    """Yield the schedules that do not fit."""
    for note in noted(tape, "schedules"):
        message = _fault(note)
        if message is not None:
            per = f"{note['per_step']} times a step" if note["per_step"] != 1 else "once a step"
            how = per if note["per_step"] else "once an epoch"
            plan = f"{note['epochs']:,} epochs of {note['steps_per_epoch']:,} steps; it moves {how}"
            yield Hit(
                place=place_in(note, tape), message=message, evidence=(Evidence(plan),),
                fix="Give the schedule the number of its own moves: optimizer steps, or epochs if it moves in each.",
            )  # fmt: skip


def _fault(note: dict[str, Any]) -> str | None:
    """Return what is wrong with a schedule, if anything is."""
    total, horizon, steps = note["total"], note["horizon"], note["epochs"] * note["steps_per_epoch"]
    if note["error"] is not None:
        return f"{note['class']} fails after {note['played']:,} of {total:,} planned moves: {note['error']}"
    if note["lowest"] < 0:
        return f"{note['class']} makes the learning rate negative: {note['lowest']:.3g}"
    if note["per_step"] and note["highest"] > 0 and note["played"] >= 10 and note["gone_at"] < 0.5 * note["played"]:
        return (
            f"{note['class']} takes the learning rate from {note['highest']:.3g} to {note['last']:.3g} in "
            f"{note['gone_at']:,} of {total:,} planned moves"
        )
    several = note["epochs"] > 1 and note["steps_per_epoch"] >= 10
    if several and note["per_step"] and horizon == note["epochs"] and total >= 2 * horizon:
        return f"{note['class']} is made for {horizon:,} moves, the number of epochs, and will make {total:,}"
    if several and not note["per_step"] and horizon == steps:
        return f"{note['class']} is made for {horizon:,} moves, the number of steps, and will make {total:,}"
    return None


@rule(code="TW320", severity="error", depth="live")
def find_live(facts: LiveFacts) -> Iterator[Hit]:
    """Yield schedules that end before the plan."""
    for fact in facts.schedules:
        yield Hit(
            place=fact.place,
            message=f"The rate of {fact.class_name} is 0 from step {fact.zero_from} on, and {fact.planned} are planned"
            if fact.length is None
            else f"{fact.class_name} moves in every step and is {fact.length} moves long, within the number of epochs; "
            f"{fact.planned} steps are planned",
            evidence=(
                Evidence(
                    f"{fact.epochs} epochs of {fact.batches} batches, {fact.steps_per_batch:.3g} steps a batch",
                    fact.loop,
                ),
            ),
            fix="Give the schedule the number of optimizer steps: epochs * ceil(len(loader) / accumulation).",
        )
