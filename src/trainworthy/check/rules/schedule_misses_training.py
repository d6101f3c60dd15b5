"""The learning-rate schedule does not fit the training: it ends long before, or long after.

What it finds:
    The schedule is played to the end of the planned training. The rate is at most a millionth of its highest for more
    than half of it, becomes negative, the schedule refuses to go so far, or its horizon counts epochs while it moves in
    every step, or steps while it moves once an epoch.

Why:
    `CosineAnnealingLR(T_max=epochs)` stepped once a batch rises and falls through the whole training;
    `OneCycleLR(total_steps=epochs * len(loader))` stepped once an epoch never leaves its warm-up. Nothing fails.

How sure:
    How often it moves in a step is seen in the rehearsal; how many steps there will be is read from the loops: only
    `for` over `range` of known numbers and over a DataLoader, with no `break` or `return` that could be taken. Anything
    else is not judged. That T_max is the number of epochs, and nothing else, is taken for the proof that epochs were
    meant.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trainworthy.check.dry.notes import noted, place_in
from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.tape.record import Tape

SEEN_BY = "rehearsal"
BAD = """\
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

def make():
    loader = DataLoader(TensorDataset(torch.rand(96, 4)), batch_size=4)
    model = nn.Linear(4, 1).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)  # <- TW320

    def train():
        for epoch in range(10):
            for (x,) in loader:
                loss = model(x.cuda()).pow(2).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()

    return train
"""
GOOD = """\
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

def make():
    loader = DataLoader(TensorDataset(torch.rand(96, 4)), batch_size=4)
    model = nn.Linear(4, 1).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10 * len(loader))

    def train():
        for epoch in range(10):
            for (x,) in loader:
                loss = model(x.cuda()).pow(2).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()

    return train
"""


@rule(code="TW320", severity="error", depth="dry")
def find(tape: Tape) -> Iterator[Hit]:
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
