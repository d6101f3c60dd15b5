"""A schedule is given the steps of one epoch and stepped in all of them.

What it finds:
    `OneCycleLR(total_steps=...)` or a transformers schedule with `num_training_steps=...` whose number is made of
    `len(loader)` and numbers, while the schedule is stepped once a batch within a loop over epochs.

Why:
    The learning rate is at its end after the first epoch: `OneCycleLR` raises at the next step, the others train on
    with a rate of 0.

How sure:
    The steps and the loops are written in one function, and the number of epochs is not in the expression.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import once_per_place

BAD = """\
import torch

net = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
loader = torch.utils.data.DataLoader(torch.rand(64, 4), batch_size=8)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=len(loader))  # <- TW371
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

_TOTALS = {"OneCycleLR": (2, "total_steps")}
_WARMUPS = ("get_linear_schedule_with_warmup", "get_cosine_schedule_with_warmup",
            "get_polynomial_decay_schedule_with_warmup")  # fmt: skip


@rule(code="TW371", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at schedules that are told how many steps there are."""
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
                message=f"the schedule ends after `{ast.unparse(total)}` steps, one epoch or less, and is stepped in "  # type: ignore[arg-type]
                "every epoch",
                evidence=(Evidence("it is stepped here", analysis.place(step.node, step.context)),),
                fix=f"Multiply by the number of epochs: epochs * len({loader}).",
            )


def _loader_of(total: ast.expr) -> str | None:
    """Return the loader whose length a number is made of, if it is made of nothing but that and numbers."""
    lengths = [
        one for one in ast.walk(total)
        if isinstance(one, ast.Call) and isinstance(one.func, ast.Name) and one.func.id == "len"
    ]  # fmt: skip
    if len(lengths) != 1 or len(lengths[0].args) != 1 or not isinstance(lengths[0].args[0], ast.Name):
        return None
    loader = lengths[0].args[0].id
    names = {one.id for one in ast.walk(total) if isinstance(one, ast.Name)}
    grows = any(isinstance(one, ast.Mult | ast.Pow) for one in ast.walk(total))
    return loader if names <= {loader, "len", "int", "math"} and not grows else None


def _stepped_in_epochs(analysis: Analysis, made: Call, loader: str) -> Call | None:
    for step in analysis.method_calls("step"):
        func = step.node.func
        name = func.value.id if isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name) else None
        if name is None or not _is_assigned(analysis, made.node, name):
            continue
        loops = [one for one in step.context.all_loops() if isinstance(one, ast.For)]
        if len(loops) >= 2 and loader in {getattr(n, "id", "") for n in ast.walk(loops[-1].iter)}:
            outer = loops[-2].iter
            if isinstance(outer, ast.Call) and any(getattr(n, "id", "") == "range" for n in ast.walk(outer)):
                return None if _is_one(outer) else step
    return None


def _is_assigned(analysis: Analysis, value: ast.AST, name: str) -> bool:
    return any(
        isinstance(one, ast.Assign) and one.value is value and any(getattr(t, "id", "") == name for t in one.targets)
        for one in analysis.nodes.get(ast.Assign, ())
    )


def _is_one(node: ast.Call) -> bool:
    return len(node.args) == 1 and isinstance(node.args[0], ast.Constant) and node.args[0].value == 1
