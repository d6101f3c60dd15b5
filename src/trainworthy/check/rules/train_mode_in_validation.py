"""A model is evaluated in training mode.

What it finds:
    In the source: a program that never turns evaluation mode on, and calls a model with dropout or BatchNorm without
    gradients or over a loader named for validation, or in a function named for evaluation; such a call to which
    `train()` leads, with no `eval()` between the two, wherever else the program calls it; `train()` in the middle of a
    validation; and one of two models that a function loads and uses, when only the other is put into evaluation mode.
    In real steps: A model that has dropout or BatchNorm is called in training mode three times in a row, without
    gradients and with no step in between, after it was trained; or, with gradients or without, if nothing ever trains
    it and no step comes between its calls; or again and again for the batches of a loader that it never learns from,
    without gradients, or so that none reaches the results; or for one tensor that it never learns from, whose results
    are then compared with something; or layers stay in training mode after `eval()`, because a
    class's own `train(mode)` does not hand the mode on.

Why:
    Dropout makes the metric worse and random; BatchNorm takes statistics of the validation data into the model.

How sure:
    In the source: neither `.eval(` nor `.train(False)` occurs on the way to the call since `train()`, or at all where
    the model is not trained in the same function, and no trainer of another library is imported. It says nothing of
    models whose layers are not known unless the program, a file that it imports or one that imports it, has such
    layers. Sure of the mode. Dropout at evaluation (Monte Carlo), update_bn of averaged weights, and filling a buffer
    are meant to be so.
"""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator
from typing import TYPE_CHECKING

from trainworthy.check.finding import Evidence, Hit, Place
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.live.runs import listed
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.evaluated import evaluated_in_training_mode
from trainworthy.check.static.evaluated_beside import loaded_beside
from trainworthy.check.static.modes import training_mode_without_gradients

if TYPE_CHECKING:
    from trainworthy.check.live.facts_steps import Forward

BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def train(steps):
    for step in range(steps):
        x, y = torch.randn(8, 4), torch.randint(3, (8,))
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()



train(4)
with torch.no_grad():
    for batch in range(4):
        model(torch.randn(8, 4))  # <- TW356
train(1)
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def train(steps):
    for step in range(steps):
        x, y = torch.randn(8, 4), torch.randint(3, (8,))
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()



train(4)
model.eval()
with torch.no_grad():
    for batch in range(4):
        model(torch.randn(8, 4))
model.train()
for step in range(4):
    with torch.no_grad():
        model(torch.randn(8, 4))
    train(1)
"""


@rule(code="TW356", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield models that were called so three times between two steps, and those that do not obey."""
    yield from _disobeyed(facts)
    yield from _with_gradients(facts)
    yield from _of_data_of_its_own(facts)
    trained = {f.model for f in facts.forwards if f.grad and f.training and f.used}
    for model in dict.fromkeys(f.model for f in facts.forwards if f.trainable or f.model not in trained):
        calls = [f for f in facts.forwards if f.model == model and f.mode_layers]
        if model in trained:
            first = min((f.step for f in calls if f.grad and f.training), default=0)
            quiet = [f for f in calls if not f.grad and f.training and f.step > first]
        else:  # a teacher is asked between the steps of others
            quiet = [f for f in calls if f.training] if len({f.step for f in calls}) == 1 else []
        for step in dict.fromkeys(f.step for f in quiet):
            run = [f for f in quiet if f.step == step and not _is_dropped(f.place)]
            if len(run) >= 3 and (len({f.place for f in run}) == 1 or model not in trained):
                yield Hit(
                    place=_cause(run[0]),
                    message=f"{run[0].name} is called {len(run)} times in a row without "
                    f"{'a backward pass' if run[0].grad else 'gradients'} while in training mode; "
                    f"it has {' and '.join(run[0].mode_layers)}",
                    evidence=_call(run[0]),
                    fix="model.eval() before validation, model.train() after it.",
                )
                break


def _cause(call: Forward) -> Place:
    """Return where training mode was set, if that was done after the last backward pass; else the call itself."""
    set_at = call.mode_set_at
    return set_at[0] if set_at is not None and set_at[1] else call.place


def _call(call: Forward) -> tuple[Evidence, ...]:
    return (Evidence("called here", call.place),) if _cause(call) != call.place else ()


def _of_data_of_its_own(facts: LiveFacts) -> Iterator[Hit]:
    """Yield models that are evaluated on a loader, or a tensor, in training mode and without gradients, repeatedly."""
    for model in dict.fromkeys(f.model for f in facts.forwards if f.grad and f.training and f.used):
        calls = [f for f in facts.forwards if f.model == model and f.mode_layers and f.training]
        first = min((f.step for f in calls if f.grad), default=0)
        learnt = {f.loader for f in calls if f.grad and f.used}
        later = [f for f in calls if not f.grad and f.step > first and not _is_dropped(f.place)]
        quiet = [f for f in later if learnt - {None} and f.loader not in {None, *learnt}]
        quiet = quiet or _of_one_tensor(calls, [f for f in later if f.judged])
        if len({f.step for f in quiet}) >= 2 and len({f.place for f in quiet}) == 1:
            yield Hit(
                place=_cause(quiet[0]),
                message=f"{quiet[0].name} is in training mode, without gradients, for data that it does not learn "
                f"from, at {len({f.step for f in quiet})} times; it has "
                f"{' and '.join(quiet[0].mode_layers)}",
                evidence=_call(quiet[0]),
                fix="model.eval() before validation, model.train() after it.",
            )


def _of_one_tensor(calls: list[Forward], judged: list[Forward]) -> list[Forward]:
    """Return the calls with the same tensor, or parts of it, again and again, if it is none that is learnt from."""
    learnt = {f.anchor for f in calls if f.grad}
    steps: dict[int, set[int]] = {}
    for f in judged:
        if f.anchor is not None and f.anchor not in learnt:
            steps.setdefault(f.anchor, set()).add(f.step)
    return [f for f in judged if f.anchor is not None and len(steps.get(f.anchor, ())) >= 2]


def _is_dropped(place: Place) -> bool:
    """Say whether a line is a call whose result nobody takes: running statistics are what it is for."""
    try:
        body = ast.parse(linecache.getline(place.path, place.line).strip()).body
    except SyntaxError:
        return False
    return len(body) == 1 and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Call)


def _with_gradients(facts: LiveFacts) -> Iterator[Hit]:
    """Yield models whose results no gradient reaches, in training mode, for the batches of a loader of their own."""
    for model in dict.fromkeys(f.model for f in facts.forwards if f.trainable):
        calls = [f for f in facts.forwards if f.model == model and f.grad and f.training and f.mode_layers]
        learnt = {f.loader for f in calls if f.used}
        idle = [f for f in calls if not f.used and f.loader is not None and f.loader not in learnt]
        # The last calls may wait for a backward pass that the look did not see.
        idle = [f for f in idle if facts.saw_the_end or any(one.used and one.step > f.step for one in calls)]
        if learnt - {None} and len(idle) >= 2 and len({f.place for f in idle}) == 1:
            yield Hit(
                place=_cause(idle[0]),
                message=f"{idle[0].name} is called {len(idle)} times in training mode, with gradients that nobody "
                f"uses, for batches of a loader that it does not learn from; it has "
                f"{' and '.join(idle[0].mode_layers)}",
                evidence=_call(idle[0]),
                fix="model.eval() and torch.no_grad() before validation, model.train() after it.",
            )


def _disobeyed(facts: LiveFacts) -> Iterator[Hit]:
    """Yield classes whose ``train`` keeps layers in training mode when evaluation is asked for."""
    for fact in facts.stay_in_training:
        yield Hit(
            place=fact.place,
            message=f"after eval(), {len(fact.names)} layers are still in training mode ({', '.join(fact.layers)}): "
            f"{listed(fact.names)}",
            evidence=(Evidence(f"{fact.class_name}.train is called by eval() with mode=False"),),
            fix="Hand the mode on: super().train(mode).",
        )


@rule(code="TW356", severity="warning")
def find_in_source(analysis: Analysis) -> Iterator[Hit]:
    """Yield evaluations in training mode that the source shows."""
    for call, layers in evaluated_in_training_mode(analysis):
        what = f"it has {layers}" if layers else "dropout and batch norm in it are at work"
        yield Hit(
            place=analysis.place(call.node, call.context),
            message=f"the model is evaluated in training mode, nothing here calls `eval()`; {what}",
            fix="Call `model.eval()` first, and `model.train()` where training goes on.",
        )
    for call, use in training_mode_without_gradients(analysis):
        yield Hit(
            place=analysis.place(call.node, call.context),
            message="the model is put into training mode within its evaluation",
            evidence=(Evidence("it is called here, without gradients", analysis.place(use.node, use.context)),),
            fix="Remove it; set training mode after the evaluation.",
        )
    for node, name, other in loaded_beside(analysis):
        yield Hit(
            place=analysis.place(node),
            message=f"`{name}` is loaded and used in training mode; `{other}` beside it is put into evaluation mode",
            fix=f"Call `{name}.eval()`, too.",
        )
