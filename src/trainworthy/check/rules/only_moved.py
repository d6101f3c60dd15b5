"""A tensor is moved to the device, or asked for its device, and never used.

What it finds:
    `speaker = speaker.cuda()` beside other inputs that are moved and used, when nothing else reads `speaker`; and a
    `temperature`, a scale or a weight that is read for its `.device` or `.dtype` only.

Why:
    What was prepared never arrives: the model is not conditioned, the logits are not divided.

How sure:
    The whole function is looked at, functions within it included. Of what is moved: silent about modules, which move in
    place, about targets, labels and lengths, which are often moved with the rest, without gradients, in functions that
    predict, evaluate or generate, and in tests. A hint, for at times the copy is for nothing, no more.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Bindings, bindings_of, function_around, functions_of
from trainworthy.check.static.tree import children, nodes_of, unparsed, walk

BAD = """\
import torch


def train_step(model, criterion, x, y, speaker, device):
    x = x.to(device)
    y = y.to(device)
    speaker = speaker.to(device)  # <- TW874
    return criterion(model(x), y)


def contrastive(a, b, temperature):
    logits = a @ b.T
    labels = torch.arange(len(a), device=temperature.device)  # <- TW874
    return torch.nn.functional.cross_entropy(logits, labels)
"""

GOOD = """\
import torch


def train_step(model, criterion, x, y, speaker, device):
    x = x.to(device)
    y = y.to(device)
    speaker = speaker.to(device)
    return criterion(model(x, speaker), y)


def contrastive(a, b, temperature):
    logits = a @ b.T / temperature
    labels = torch.arange(len(a), device=temperature.device)
    return torch.nn.functional.cross_entropy(logits, labels)
"""

_SCALES = re.compile(r"(^|_)(temperature|temp|tau|scale|alpha|beta|gamma|margin|sigma|coefficient|coef|coeff)$")
_MODULES = re.compile(r"(^|_)(model|net|network|module|ema|teacher|student|criterion|loss_fn)\d*$")
_MOVED_WITH_THE_REST = re.compile(r"(^|_)(y|ys|targets?|labels?|tgt|gt|len|lens|lengths?)(_|$)")
_NO_LEARNING = re.compile(r"(^|_)(predict|eval|infer|valid|test|generate(_|$)|sample(_|$))")
_OFF = re.compile(r"no_grad|inference_mode")
_KEEPS = frozenset({"cuda", "to", "float", "long", "detach", "contiguous"})
_Assigned = dict[str, list[tuple[ast.AST, ast.expr]]]


@rule(code="TW874", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the names of functions."""
    words = analysis.source.words
    if "torch" not in words or not words & {"cuda", "to", "device"}:
        return
    for node in functions_of(analysis.nodes):
        names = bindings_of(node)
        if not names.opaque:
            yield from _moved(analysis, names)
            yield from _asked_for_device(analysis, names)


def _moved(analysis: Analysis, names: Bindings) -> Iterator[Hit]:
    """Yield what is moved as others are, and read by nothing else."""
    if "/test" in analysis.source.path or _NO_LEARNING.search(names.function.name) or _is_without_gradients(names):
        return
    assigned = _assigned(names)
    moved = [name for name, values in assigned.items() if any(_is_moved(value, name) for _, value in values)]
    for name in moved if len(moved) > 1 else ():
        own = {one for _, value in assigned[name] for one in walk(value)}
        others = [one for one in moved if one != name and any(read not in own for read in names.reads[one])]
        if name.startswith("_") or name in names.declared or not others or _MODULES.search(name):
            continue
        if _MOVED_WITH_THE_REST.search(name.lower()):
            continue
        if all(one in own for one in names.reads.get(name, [])):
            statement = next(one for one, value in assigned[name] if _is_moved(value, name))
            if function_around(analysis.parents, statement) is not names.function:
                continue  # which is looked at by itself
            yield Hit(
                place=analysis.source.place(statement),
                message=f"`{name}` is moved to the device, and nothing uses it",
                fix="Hand it to the model or the loss, or leave it where it is.",
                severity="hint",
            )


def _is_without_gradients(names: Bindings) -> bool:
    """Say whether gradients are off in a function, or in a block of it."""
    blocks = [one.context_expr for node in nodes_of(names.function, ast.With) for one in node.items]
    return any(_OFF.search(unparsed(one)) for one in (*names.function.decorator_list, *blocks))


def _assigned(names: Bindings) -> _Assigned:
    """Return what is given to each name, alone or beside others in one statement."""
    found: _Assigned = {}
    for one in walk(names.function):
        if isinstance(one, ast.Assign) and len(one.targets) == 1:
            target, value = one.targets[0], one.value
            pairs = [(target, value)]
            if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                pairs = list(zip(target.elts, value.elts, strict=False))
            for name, given in pairs:
                if isinstance(name, ast.Name):
                    found.setdefault(name.id, []).append((one, given))
    return found


def _is_moved(value: ast.expr, name: str) -> bool:
    """Say whether a value is that of a name on another device."""
    value = value.body if isinstance(value, ast.IfExp) else value
    moved = False
    while isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr in _KEEPS:
        moved = moved or value.func.attr in ("cuda", "to")
        value = value.func.value
    return moved and isinstance(value, ast.Name) and value.id == name


def _asked_for_device(analysis: Analysis, names: Bindings) -> Iterator[Hit]:
    """Yield scales that are there for their device only."""
    scales = [name for name in names.reads if _SCALES.search(name)]
    parents = {child: node for node in walk(names.function) for child in children(node)} if scales else {}
    for name in scales:
        if name not in names.stores and name not in names.parameters:
            continue
        asked = [parents.get(one) for one in names.reads[name]]
        if all(getattr(one, "attr", "") in ("device", "dtype") for one in asked) and all(
            isinstance(parents.get(one), ast.keyword) or _moves(parents.get(one)) for one in asked if one is not None
        ):
            yield Hit(
                place=analysis.source.place(names.reads[name][0]),
                message=f"`{name}` is asked for its device only: its value goes nowhere",
                fix="Use it where it is meant.",
            )


def _moves(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "to"
