"""Gradients are clipped when there are none to clip: after the optimizer used them, or before the backward pass.

What it finds:
    In one body: `backward`, the optimizer's step or the scaler's, then `clip_grad_norm_`, and no clip before; or
    `clip_grad_norm_`, then the only `backward` of the turn and the step; or an optimizer's own `step`, which clips
    after `super().step()`.

Why:
    The clipped gradients are set to zero before anybody sees them; nothing is clipped.

How sure:
    The order in one body of statements, under the same conditions.

In real steps:
    Twice or more, clip_grad_norm_ or clip_grad_value_ gets gradients that a step used already and that no backward pass
    has changed since; or, twice, clip_grad_norm_ gets no parameters, as from a generator that is used up.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import (
    CLIPPERS,
    always_with,
    feeds,
    may_both_run,
    names_in,
    once_per_place,
    optimizer_steps,
    same_turn,
    scaler_calls,
)
from trainworthy.check.static.tree import nodes_of

BAD = """\
import torch

model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x in torch.rand(10, 8, 4):
    optimizer.zero_grad()
    model(x).mean().backward()
    optimizer.step()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # <- TW310
"""

GOOD = """\
import torch

model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x in torch.rand(10, 8, 4):
    optimizer.zero_grad()
    model(x).mean().backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
"""


@rule(code="TW310", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at what comes before and after each clip."""
    steps = [*optimizer_steps(analysis), *scaler_calls(analysis, "step")]
    yield from _after_the_step_itself(analysis)
    backwards = list(analysis.method_calls("backward"))
    for clip in once_per_place(analysis.calls(*CLIPPERS)):
        if "inf" in _words_in(clip.argument_node(1, "max_norm")):
            continue  # it measures the norm
        near = [one for one in steps if same_turn(one.context, clip.context)]
        before = [one for one in near if one.at < clip.at and always_with(one.context, clip.context)]
        after = [one for one in near if one.at > clip.at and may_both_run(one.context, clip.context)]
        between = [one for one in backwards if before and before[-1].at < one.at < clip.at]
        had = any(one.at < before[-1].at and feeds(one, clip) for one in backwards) if before else False
        first = next((one for one in backwards if one.at > clip.at and same_turn(one.context, clip.context)), None)
        if first is not None and not had and _clips_nothing(clip, first, backwards, near):
            yield Hit(
                place=analysis.place(clip.node, clip.context),
                message="gradients are clipped before this turn's backward pass makes them",
                evidence=(Evidence("they are made here", analysis.place(first.node, first.context)),),
                fix="Clip between `backward()` and `step()`.",
            )
        if before and had and not after and not between:
            yield Hit(
                place=analysis.place(clip.node, clip.context),
                message="gradients are clipped after the optimizer used them",
                evidence=(Evidence("the step is here", analysis.place(before[-1].node, before[-1].context)),),
                fix="Clip between `backward()` and `step()`.",
            )


def _after_the_step_itself(analysis: Analysis) -> Iterator[Hit]:
    """Look at optimizers that clip in their own step: before they let the base step."""
    own = [one for one in analysis.calls("super.step") if getattr(one.context.function, "name", "") == "step"]
    for clip in once_per_place(analysis.calls(*CLIPPERS)):
        near = [one for one in own if same_turn(one.context, clip.context)]
        before = [one for one in near if one.at < clip.at and always_with(one.context, clip.context)]
        if before and len(before) == len(near):
            yield Hit(
                place=analysis.place(clip.node, clip.context),
                message="gradients are clipped after the optimizer used them",
                evidence=(Evidence("the step is here", analysis.place(before[-1].node, before[-1].context)),),
                fix="Clip before the step.",
            )


def _clips_nothing(clip: Call, backward: Call, backwards: list[Call], steps: list[Call]) -> bool:
    """Say whether no gradient of the turn is there yet at a clip, and a step uses those that come after it."""
    loops = clip.context.all_loops()
    earlier = [one for one in backwards if one.at < clip.at and set(loops[-1:]) <= set(one.context.all_loops())]
    used = [one for one in steps if one.at > backward.at and always_with(one.context, backward.context)]
    return bool(loops) and not earlier and bool(used) and not any(clip.at < one.at < backward.at for one in steps)


def _words_in(node: ast.expr | None) -> set[str]:
    """Return names and texts below an expression."""
    found = {str(one.value) for one in nodes_of(node, ast.Constant)} if node is not None else set()
    return found | (names_in(node) if node is not None else set())


LIVE_BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for step in range(4):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # <- TW310
"""
LIVE_GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

from torch.nn.utils import clip_grad_norm_, clip_grad_value_
for step in range(4):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    clip_grad_norm_(model.parameters(), 1.0)
    clip_grad_value_(model.parameters(), 1.0)
    optimizer.step()
"""


@rule(code="TW310", severity="error", depth="live")
def find_live(facts: LiveFacts) -> Iterator[Hit]:
    """Yield lines that clip too late twice, and never in time; and those that are given no parameters any more."""
    empty = Counter(facts.empty_clips)
    for place, times in empty.items():
        if times >= 2:
            yield Hit(
                place=place,
                message=f"clip_grad_norm_ was given no parameters {times} times: nothing is clipped",
                evidence=(Evidence("`parameters()` returns a generator, which is used up after the first pass"),),
                fix="Give it `model.parameters()` anew each time, or a list.",
            )
    for place in dict.fromkeys(c.place for c in facts.clips):
        calls = [c for c in facts.clips if c.place == place]
        if len(calls) >= 2 and all(c.after_step for c in calls):
            yield Hit(
                place=place,
                message=f"{calls[0].function} clips gradients that optimizer.step() has used already",
                evidence=(Evidence(f"{len(calls)} calls, none in time"),),
                fix="backward(), then clip, then step().",
            )
