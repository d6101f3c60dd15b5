"""An evaluation loop builds graphs that nobody uses.

What it finds:
    `model.eval()` followed by a loop that calls the model, or such a loop in a function named for validation, without
    a backward pass, in a program that never turns gradients off.

Why:
    Activations of every forward pass are kept for a backward that never comes: slower, and several times the memory.

How sure:
    Silent if `no_grad`, `inference_mode`, `set_grad_enabled`, `autograd.grad` or a backward occurs anywhere near.

In real steps:
    A model in evaluation mode is called with gradients on three times or more between two steps, and no backward pass
    comes.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.external import is_module
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import body_of, names_in, once_per_place, receiver

BAD = """\
import torch

model = torch.nn.Linear(4, 1)


def evaluate(batches):
    model.eval()
    total = 0.0
    for x in batches:
        total += model(x).sum().item()  # <- TW703
    return total
"""

GOOD = """\
import torch

model = torch.nn.Linear(4, 1)


@torch.no_grad()
def evaluate(batches):
    model.eval()
    total = 0.0
    for x in batches:
        total += model(x).sum().item()
    return total
"""


_GRADIENTS = (
    "no_grad", "inference_mode", "set_grad_enabled", "requires_grad_", "requires_grad", "backward", "grad",
    "autograd",
)  # fmt: skip


_OFF = re.compile(r"no_grad|inference_mode|set_grad_enabled|requires_grad_\b")


@rule(code="TW703", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at calls of a model after its eval()."""
    if _OFF.search(analysis.source.code):  # also in the names of decorators that do it
        return
    if "torch" not in analysis.source.words and _OTHERS & analysis.source.words:
        return
    evals = [call for call in analysis.method_calls("eval") if not call.node.args]
    done = set()
    for call in once_per_place(iter(analysis.all_calls)):
        if not call.context.loops or id(body_of(call.context)) in done or not _may_be_a_model(call):
            continue
        first = next(
            (
                one
                for one in evals
                if _same_model(one, call)
                and one.at < call.at
                and one.context.function is call.context.function
                and call.context.callers == one.context.callers
                and not set(one.context.loops) - set(call.context.loops)
            ),
            None,
        )
        body = body_of(call.context)
        if first is None and _is_named_for_evaluation(call):
            first = call
        if call.context.under("torch.no_grad", "torch.inference_mode", "torch.set_grad_enabled"):
            continue
        loop = call.context.loops[-1]
        around = body if body is not analysis.source.tree and not _trains_before(body, first) else loop
        if first is None or names_in(around) & set(_GRADIENTS) or _back_to_training(analysis, first, call):
            continue
        done.add(id(body))
        yield Hit(
            place=analysis.place(call.node, call.context),
            message="the graph of every batch is built and never used",
            evidence=(Evidence("evaluation starts here", analysis.place(first.node, first.context)),),
            fix="Put it under `with torch.no_grad():`, or decorate the function.",
        )


_OTHERS = frozenset(("mxnet", "tensorflow", "keras", "jax", "flax", "paddle", "mindspore"))


def _is_named_for_evaluation(call: Call) -> bool:
    """Say whether something named as networks are is called in a function named for validating."""
    function = call.context.function
    named = function is not None and re.search(r"(^|_)(validate|validation|evaluate|valid_epoch)($|_)", function.name)
    return (
        bool(named)
        and re.search(r"^(model|net|network|net_?[A-Z]\w*|generator)$", last_name(call.node.func)) is not None
    )


def _may_be_a_model(call: Call) -> bool:
    """Say whether what is called is a module, or something unknown that may be one."""
    return is_module(call.owner) if call.name.endswith("__call__") else not call.name or call.name.startswith("?.")


def _same_model(mode: Call, call: Call) -> bool:
    """Say whether a model is called whose mode was set; unknown ones are compared by how they are written."""
    if call.name.endswith("__call__"):
        return mode.owner is call.owner
    return not is_module(mode.owner) and receiver(mode) == ast.unparse(call.node.func)


def _trains_before(body: ast.AST, first: Call | None) -> bool:
    """Say whether a body trains before it evaluates, as scripts do: then only the evaluation's loop counts."""
    return first is not None and any(
        getattr(node, "attr", "") == "backward" and getattr(node, "lineno", 0) < first.node.lineno
        for node in ast.walk(body)
    )


def _back_to_training(analysis: Analysis, first: Call, call: Call) -> bool:
    return any(
        receiver(one) == receiver(first) and first.at < one.at < call.at for one in analysis.method_calls("train")
    )


LIVE_BAD = """\
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
for batch in range(4):
    model(torch.randn(8, 4))  # <- TW703
model.train()
train(1)
"""
LIVE_GOOD = """\
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
with torch.inference_mode():
    for batch in range(4):
        model(torch.randn(8, 4))
model.train()
train(1)
"""


@rule(code="TW703", severity="warning", depth="live")
def find_live(facts: LiveFacts) -> Iterator[Hit]:
    """Yield models that were called so between two steps."""
    used: dict[int, int] = {}
    for b in facts.backwards:
        used[b.step] = used.get(b.step, 0) + 1
    for model in dict.fromkeys(f.model for f in facts.forwards if f.trainable):
        calls = [f for f in facts.forwards if f.model == model and f.grad and not f.training]
        trains = any(f.grad and f.training for f in facts.forwards if f.model == model)
        for step in dict.fromkeys(f.step for f in calls):
            run = [f for f in calls if f.step == step]
            if trains and len(run) - used.get(step, 0) >= 3 and len({f.place for f in run}) == 1:
                yield Hit(
                    place=run[0].place,
                    message=f"{run[0].name}, in evaluation mode, is called {len(run)} times with gradients on "
                    "and no backward "
                    "pass: each call keeps its activations",
                    fix="with torch.inference_mode(): around the evaluation.",
                )
                return
