"""A shallow copy of an optimizer, a scheduler or a network shares everything with the original.

What it finds:
    `copy.copy(optimizer)` or `copy.copy(scheduler)` whose copy is stepped, loaded into or changed; and
    `target_net = copy.copy(net)`, where the name says that the copy is to stay behind (target, teacher, ema, old, best,
    frozen, reference).

Why:
    The copy shares parameter groups, and a scheduler's copy its optimizer: looking at the schedule in advance changes
    the learning rate that training uses. A network's copy has the same layers: the target moves with each step.

How sure:
    The copy is made by `copy.copy` of a known optimizer or scheduler, or of something called so, and is stepped
    afterwards; or of a module, or what is named as one.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.external import is_module, is_optimizer, is_scheduler
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import body_of, once_per_place
from trainworthy.check.static.tree import unparsed, walk
from trainworthy.check.static.values import Instance

BAD = """\
import copy
import torch


def plot_schedule(optimizer, scheduler, epochs):
    optimizer, scheduler = copy.copy(optimizer), copy.copy(scheduler)  # <- TW642
    rates = []
    for _ in range(epochs):
        scheduler.step()
        rates.append(optimizer.param_groups[0]["lr"])
    return rates
"""

GOOD = """\
import copy
import torch


def plot_schedule(optimizer, scheduler, epochs):
    scheduler = copy.deepcopy(scheduler)
    rates = []
    for _ in range(epochs):
        scheduler.step()
        rates.append(scheduler.get_last_lr()[0])
    return rates
"""


@rule(code="TW642", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at copies of what steps, in functions that step, and of networks."""
    reported = set()
    for call in once_per_place(analysis.calls("copy.copy")):
        source = call.argument_node(0, "x")
        name = _stays_behind(analysis, call, source)
        if name and source is not None:
            yield Hit(
                place=analysis.place(call.node, call.context),
                message=f"`{name}` has the layers of `{unparsed(source)}` itself: it changes with each of its steps",
                fix="Use `copy.deepcopy`.",
            )
            continue
        if source is None or not _steps(call, source):
            continue
        body = body_of(call.context)
        step = next((one for one in walk(body) if _is_step(one) and getattr(one, "lineno", 0) > call.node.lineno), None)
        if step is None or (call.context.source, call.node.lineno) in reported:
            continue
        reported.add((call.context.source, call.node.lineno))
        yield Hit(
            place=analysis.place(call.node, call.context),
            message=f"a shallow copy of `{unparsed(source)}` shares its groups: stepping it steps the original",
            evidence=(Evidence("it is stepped here", analysis.place(step, call.context)),),
            fix="Use `copy.deepcopy`.",
        )


_BEHIND = re.compile(r"(^|_)(targets?|targ|tgt|teacher|ema|old|prev|previous|best|frozen|ref|reference)(_|$)")
_NETWORK = re.compile(
    r"(^|_)(q|net|nets|network|model|actor|critic|policy|encoder|decoder|mu|value|qf|q_?func)\d?(_|\d|$)"
)


def _stays_behind(analysis: Analysis, call: Call, source: ast.expr | None) -> str:
    """Name what a copy of a network is kept as, if that is to stay as it is; "" for other copies."""
    statement = analysis.parents.get(call.node)
    if source is None or not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        return ""
    target = statement.targets[0]
    value = call.argument(0, "x")
    known = isinstance(value, Instance)
    if not (is_module(value) if known and value is not None else _NETWORK.search(last_name(source).lower())):
        return ""
    return unparsed(target) if _BEHIND.search(last_name(target).lower()) else ""


def _steps(call: Call, source: ast.expr) -> bool:
    value = call.argument(0, "x")
    if value is not None and (is_optimizer(value) or is_scheduler(value)):
        return True
    name = str(getattr(source, "attr", None) or getattr(source, "id", "")).lower()
    return name.startswith(("optim", "sched", "lr_sched"))


def _is_step(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "step"
