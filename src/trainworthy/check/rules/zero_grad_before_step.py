"""Gradients are set to zero between backward and step.

What it finds:
    In one body: `backward`, then `zero_grad`, then the step, of one optimizer; also if another `backward` follows, but
    `zero_grad` stands before the first one, too, and nothing in between can have used its gradients.

Why:
    The step sees no gradients and changes nothing (or only decays the weights).

How sure:
    The order in one body, under the same conditions, with no second backward in between.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import (
    always_with,
    once_per_place,
    optimizer_steps,
    receiver,
    same_object,
    same_turn,
    scaler_calls,
    stepped_by,
)
from trainworthy.check.static.values import UNKNOWN

BAD = """\
import torch

model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x in torch.rand(10, 8, 4):
    model(x).mean().backward()
    optimizer.zero_grad()  # <- TW312
    optimizer.step()
"""

GOOD = """\
import torch

model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x in torch.rand(10, 8, 4):
    model(x).mean().backward()
    optimizer.step()
    optimizer.zero_grad()
"""


@rule(code="TW312", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at zero_grad of an optimizer that steps right after."""
    steps = [*optimizer_steps(analysis), *(one for one in scaler_calls(analysis, "step") if one.node.args)]
    steps.sort(key=lambda one: one.at)
    backwards = list(analysis.method_calls("backward"))
    yield from _between_two_clearings(analysis, list(analysis.method_calls("step")), backwards)
    for zero in once_per_place(analysis.method_calls("zero_grad")):
        later = [
            one for one in steps if _is_of(one, zero) and one.at > zero.at and same_turn(one.context, zero.context)
        ]
        if not later or not always_with(zero.context, later[0].context):
            continue
        step = later[0]
        near = [one for one in backwards if same_turn(one.context, zero.context)]
        before = [one for one in near if one.at < zero.at and not _stepped(steps, one.at, zero)]
        # A backward in between, be it hidden in a call, gives the step its gradients.
        between = [one for one in analysis.all_calls if zero.at < one.at < step.at and _may_backward(one.name)]
        if before and not between:
            yield Hit(
                place=analysis.place(zero.node, zero.context),
                message="gradients are set to zero before the step uses them",
                evidence=(
                    Evidence("they are computed here", analysis.place(before[-1].node, before[-1].context)),
                    Evidence("and would be used here", analysis.place(step.node, step.context)),
                ),
                fix="Call `zero_grad()` before `backward()`, or after `step()`.",
            )


def _between_two_clearings(analysis: Analysis, steps: list[Call], backwards: list[Call]) -> Iterator[Hit]:
    """Yield clearings of gradients that no step can have used since the clearing before."""
    for zero in once_per_place(analysis.method_calls("zero_grad")):
        later = [one for one in steps if receiver(one) == receiver(zero) and one.at > zero.at]
        step = next((one for one in later if same_turn(one.context, zero.context)), None)
        wasted = _wasted(analysis, zero, backwards, steps) if step is not None else None
        if step is not None and wasted is not None:
            yield Hit(
                place=analysis.place(zero.node, zero.context),
                message="gradients are set to zero before a step has used them: those of this loss are lost",
                evidence=(
                    Evidence("they are computed here", analysis.place(wasted.node, wasted.context)),
                    Evidence("the next step is here", analysis.place(step.node, step.context)),
                ),
                fix="Step before the next `zero_grad()`.",
            )


def _wasted(analysis: Analysis, zero: Call, backwards: list[Call], steps: list[Call]) -> Call | None:
    """Return a backward pass between two clearings of one optimizer whose gradients nothing can have used."""
    clears = [one for one in analysis.method_calls("zero_grad") if receiver(one) == receiver(zero)]
    first = [one for one in clears if one.at < zero.at and same_turn(one.context, zero.context)]
    if not first:
        return None
    for backward in backwards:
        if not first[-1].at < backward.at < zero.at or not same_turn(backward.context, zero.context):
            continue
        if not always_with(first[-1].context, backward.context) or not always_with(backward.context, zero.context):
            continue
        inner = [one for one in analysis.all_calls if backward.at < one.at < zero.at]
        stepped = any(backward.at < one.at < zero.at for one in steps)
        if not stepped and all(one.method in _HARMLESS or one.name.startswith("builtins.") for one in inner):
            return backward
    return None


def _stepped(steps: list[Call], at: int, zero: Call) -> bool:
    return any(at < one.at < zero.at and _is_of(one, zero) for one in steps)


def _is_of(step: Call, zero: Call) -> bool:
    """Say whether a step, be it a scaler's, is of the optimizer whose gradients are cleared."""
    if not step.node.args:
        return same_object(step, zero)
    optimizer, written = stepped_by(step)
    return written == receiver(zero) if optimizer is UNKNOWN or zero.owner is UNKNOWN else optimizer is zero.owner


_HARMLESS = frozenset(
    "parameters named_parameters modules item detach cpu append extend items keys values size numel format join log "
    "info debug add_scalar mean sum norm unscale_ state_dict".split()
)


def _may_backward(name: str) -> bool:
    last = name.rpartition(".")[2]
    if last in _HARMLESS and name.startswith("?"):
        return False
    return not name or last == "backward" or name.startswith(("?", "project")) or "backward" in last or last == "grad"
