"""An evaluation loop builds graphs that nobody uses.

What it finds:
    `model.eval()` followed by a loop that calls the model, itself or in a helper, or such a loop in a function named
    for validation, or for a test if it goes over held-out data, or a loop that takes only the number of its losses,
    without a backward pass and where nothing turns gradients off. Also a loop for training and validation that calls
    the model in both, and the backward under `if phase == "train"`.

Why:
    Activations of every forward pass are kept for a backward that never comes: slower, and several times the memory.

How sure:
    Silent if `no_grad`, `inference_mode`, `set_grad_enabled`, `autograd.grad` or a backward occurs in the functions on
    the way, around a call of one of them, in other files of the project as well, or in a decorator; where parameters
    are frozen and no optimizer has the model's. A hint where inputs are `volatile` in a program that was written for
    torch before 0.4.

In real steps:
    A model in evaluation mode is called with gradients on three times or more between two steps, and no backward pass
    comes: of a model that also trains, or in a program without any backward pass. Or so three times in all, for batches
    of a loader that it never learns from.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.live.facts_steps import Forward
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.external import is_module
from trainworthy.check.static.facts import Call, Context
from trainworthy.check.static.gradients_off import GradientsOff
from trainworthy.check.static.phases import forward_of_both
from trainworthy.check.static.queries import body_of, in_a_module, names_in, receiver
from trainworthy.check.static.repeats import with_repeats
from trainworthy.check.static.tree import nodes_of, unparsed, walk

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


_GRADIENTS = frozenset({"requires_grad_", "requires_grad", "backward", "grad", "autograd"})
_OFF = re.compile(r"no_grad|inference_mode|set_grad_enabled|with eval_?mode\(")
_MODEL = re.compile(r"^_?(model|net|network|net_?[A-Z]\w*|generator)_?$")
_OTHER_LIBRARIES = frozenset({"mxnet", "tensorflow", "keras", "jax", "flax", "paddle", "mindspore"})
_EVALUATION = re.compile(
    r"(^|_)(validate|validation|evaluate|valid_epoch|val_epoch|eval_epoch|evaluation|validation_step|val_step)($|_)"
)
_TESTS = re.compile(r"^(do_|run_)?(test|eval|val|valid|testing)($|_(epoch|model|loop|set|one_epoch))")
_HELD_OUT = re.compile(
    r"(^|[^a-z])(valid|val|validation|test|testing|dev|eval|evaluation)_?(data)?_?(loader|iter|dl|set|dataset|batches)",
    re.IGNORECASE,
)


@rule(code="TW703", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at calls of a model after its eval(), at losses of which only the number is taken, and at phases."""
    if _OTHER_LIBRARIES & analysis.source.words and "torch" not in analysis.source.words:
        return
    yield from _of_both_phases(analysis)
    evals = [call for call in analysis.method_calls("eval") if not call.node.args]
    candidates = [
        (call, first, here)
        for call in with_repeats(analysis, _may_be_a_model)
        for first, here in _beginning(analysis, evals, call)
    ]
    off = GradientsOff(analysis) if candidates else None
    done: set[ast.AST] = set()
    for call, first, here in candidates:
        body = body_of(here.context)
        if off is None or {body, call.node} & done or off.around(call.context) or off.around(here.context):
            continue
        if off.freezes and not _is_optimised(analysis, call):
            continue
        loop = here.context.loops[-1] if here.context.loops else here.node
        whole = body is not analysis.source.tree and not _trains_before(body, first)
        below = _frames(call)[len(here.context.callers) + 1 :]
        own = bool(below) and _is_named(below[0]) and any(one.loops for one in below)  # a whole evaluation is called
        around = [*([] if own else [body if whole else loop]), *(body_of(frame) for frame in below)]
        way = {one.node for one in (*call.context.callers, call)}
        if any(names_in(one) & _GRADIENTS or _may_be_off(one, way) for one in around):
            continue
        old = _is_volatile(loop) and not {"item", "no_grad"} & analysis.source.words
        if old and _rounds_an_element(loop):  # which no torch does that builds a graph here
            continue
        done |= {body, call.node}
        yield Hit(
            place=analysis.place(here.node, here.context),
            message=("`volatile` has no effect since torch 0.4: " if old else "")
            + "the graph of every batch is built and never used",
            severity="hint" if old else None,
            evidence=(Evidence("evaluation starts here", analysis.place(first.node, first.context)),),
            fix="Put it under `with torch.no_grad():`, or decorate the function.",
        )


def _may_be_off(body: ast.AST, way: set[ast.Call]) -> bool:
    """Say whether gradients may be turned off on the way to a call, other than in blocks beside it."""
    if not _OFF.search(unparsed(body)):
        return False
    beside: set[ast.AST] = set()
    for one in walk(body):
        if isinstance(one, ast.With) and not way & set(walk(one)):
            beside |= {each for item in one.items for each in walk(item.context_expr)}
    words = (one for one in walk(body) if isinstance(one, ast.Name | ast.Attribute) and one not in beside)
    return any(_OFF.search(last_name(one)) or _OFF.search(f"with {last_name(one)}(") for one in words)


def _of_both_phases(analysis: Analysis) -> Iterator[Hit]:
    """Yield calls of a model in loops that go backward only in the phase of training."""
    done: set[ast.AST] = set()
    for node in analysis.nodes.get(ast.Call, []) if "backward" in analysis.source.words else ():
        if not isinstance(node, ast.Call) or last_name(node.func) != "backward":
            continue
        found = forward_of_both(node, analysis.source, analysis.parents)
        if found is not None and found[0] not in done:
            done.add(found[0])
            yield Hit(
                place=analysis.place(found[0]),
                message=f"where not `{unparsed(found[1])}`, the graph of every batch is built and never used",
                evidence=(Evidence("backward only here", analysis.place(node)),),
                fix="Call it under `torch.set_grad_enabled(...)` with that condition.",
            )


def _is_volatile(loop: ast.AST) -> bool:
    """Say whether a loop is written for torch before 0.4: its inputs are volatile, and it reads numbers of `.data`."""
    given = any(
        isinstance(one, ast.keyword)
        and one.arg == "volatile"
        and isinstance(one.value, ast.Constant)
        and one.value.value is True
        for one in walk(loop)
    )
    return given and any(
        isinstance(one, ast.Subscript) and isinstance(one.value, ast.Attribute) and one.value.attr == "data"
        for one in walk(loop)
    )


def _rounds_an_element(loop: ast.AST) -> bool:
    """Say whether `round(x.data[...], digits)` occurs: elements were numbers before torch 0.4, tensors since."""
    calls = [one for one in nodes_of(loop, ast.Call) if getattr(one.func, "id", "") == "round"]
    rounded = [one.args[0] for one in calls if len(one.args) == 2 and isinstance(one.args[0], ast.Subscript)]
    return any(getattr(one.value, "attr", "") == "data" for one in rounded)


def _beginning(analysis: Analysis, evals: list[Call], call: Call) -> Iterator[tuple[Call, Call]]:
    """Yield where an evaluation begins, and its call that leads to that of the model; nothing if it is none."""
    frames = _frames(call)
    chain = (*call.context.callers, call)
    for mode in evals:
        depth = len(mode.context.callers)
        if depth >= len(frames) or mode.at > call.at or not _same_model(mode, call):
            continue
        here = chain[depth]
        if (
            mode.context.callers == call.context.callers[:depth]
            and mode.context.function is here.context.function
            and not set(mode.context.loops) - set(here.context.loops)
            and (any(one.loops for one in frames[depth:]) or _is_repeated(mode, here, evals))
            and not _back_to_training(analysis, mode, call)
        ):
            yield mode, here
            return
    if call.context.loops and _is_named_for_evaluation(call) and _MODEL.search(last_name(call.node.func)):
        yield call, call
        return
    known = frames[0].function is None and (is_module(call.owner) or _MODEL.search(last_name(call.node.func)))
    if not known or in_a_module(call):
        return
    turn = next((one for one in chain if one.context.loops and _only_its_number(one)), None)
    if turn is not None and not any("train" in test for test in _conditions(turn)):
        yield turn, turn


def _frames(call: Call) -> list[Context]:
    """Return the contexts of the functions that are open at a call, outermost first."""
    return [*(one.context for one in call.context.callers), call.context]


def _conditions(call: Call) -> Iterator[str]:
    return (unparsed(test) for test, _ in call.context.branches)


def _only_its_number(call: Call) -> bool:
    """Say whether a loss is made in a loop and nothing but its number is used there."""
    loop = call.context.loops[-1]
    for node in walk(loop):
        if isinstance(node, ast.Assign) and node.value is call.node and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            uses = [one for one in nodes_of(loop, ast.Name) if one.id == name]
            numbers = [
                one.value
                for one in nodes_of(loop, ast.Attribute)
                if one.attr == "item" and isinstance(one.value, ast.Name)
            ]
            read = [one for one in uses if isinstance(one.ctx, ast.Load)]
            return "loss" in name and bool(read) and all(one in numbers for one in read)
    return False


def _is_named_for_evaluation(call: Call) -> bool:
    """Say whether a call stands in a function named for validating."""
    return _is_named(call.context)


def _is_named(context: Context) -> bool:
    """Say whether a function is named for validating; `test` may be any, unless its loop is over held-out data."""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", context.function.name).lower() if context.function is not None else ""
    loops = [one for one in context.loops if isinstance(one, ast.For)]
    held_out = any(_HELD_OUT.search(unparsed(one.iter)) for one in loops[-1:])
    return _EVALUATION.search(name) is not None or (held_out and _TESTS.search(name) is not None)


def _is_optimised(analysis: Analysis, call: Call) -> bool:
    """Say whether an optimizer is given the parameters of what is called: what is frozen is another, or a part."""
    named = re.compile(rf"(?<![\w.]){re.escape(unparsed(call.node.func))}\.(named_)?parameters\(\)")
    return any(
        "optim" in one.name.lower() + last_name(one.node.func).lower()
        and any(named.search(unparsed(each)) for each in (*one.node.args, *(key.value for key in one.node.keywords)))
        for one in analysis.all_calls
    )


def _is_repeated(mode: Call, here: Call, evals: list[Call]) -> bool:
    """Say whether a function named for validating is one, in one of the ways that lead there, of a loop."""
    return _is_named_for_evaluation(here) and any(one.node is mode.node and one.context.in_loop for one in evals)


def _may_be_a_model(call: Call) -> bool:
    """Say whether what is called is a module, or something unknown that may be one."""
    if call.name.endswith("__call__"):
        return is_module(call.owner)
    of_keras = any(one.arg == "training" for one in call.node.keywords)  # `model(x, training=False)`
    return not of_keras and (not call.name or call.name.startswith("?."))


def _same_model(mode: Call, call: Call) -> bool:
    """Say whether a model is called whose mode was set; unknown ones are compared by how they are written."""
    if call.name.endswith("__call__"):
        return mode.owner is call.owner
    return not is_module(mode.owner) and receiver(mode) == unparsed(call.node.func)


def _trains_before(body: ast.AST, first: Call) -> bool:
    """Say whether a body trains before it evaluates, as scripts do: then only the evaluation's loop counts."""
    return any(
        getattr(node, "attr", "") == "backward" and getattr(node, "lineno", 0) < first.node.lineno
        for node in walk(body)
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
        trains = not facts.backwards or any(f.grad and f.training for f in facts.forwards if f.model == model)
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
        yield from _for_another_loader(calls, facts, used)


def _for_another_loader(calls: list[Forward], facts: LiveFacts, used: dict[int, int]) -> Iterator[Hit]:
    """Yield calls for a few batches of a loader that the model does not learn from, in several evaluations."""
    learnt = {f.loader for f in facts.forwards if calls and f.model == calls[0].model and f.used} - {None}
    idle = [f for f in calls if learnt and f.loader is not None and f.loader not in learnt and used.get(f.step, 0) <= 1]
    if len(idle) >= 3 and len({f.step for f in idle}) >= 2 and len({f.place for f in idle}) == 1:
        yield Hit(
            place=idle[0].place,
            message=f"{idle[0].name}, in evaluation mode, is called {len(idle)} times with gradients on, for batches "
            "of a loader that it does not learn from: each call keeps its activations",
            fix="with torch.inference_mode(): around the evaluation.",
        )
