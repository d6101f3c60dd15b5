"""The signal vanishes on its way through the layers.

What it finds:
    A model without norms, with six `Linear` or convolution layers or more, of which one gives results whose spread is
    less than a millionth of that of the first, at the beginning of training.

Why:
    Weights begin too small: each layer scales the signal down, the output does not depend on the input, and gradients
    vanish the same way.

How sure:
    Sure of the numbers.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.queries import names_in

LIVE_BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
parts = [nn.Linear(64, 64), nn.ReLU()] * 1
for _ in range(9):
    parts += [nn.Linear(64, 64), nn.ReLU()]
model = nn.Sequential(*parts, nn.Linear(64, 1))
for p in model.parameters():
    nn.init.normal_(p, std=0.01) if p.dim() == 2 else nn.init.zeros_(p)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(5):
    loss = model(torch.randn(8, 64)).pow(2).mean()  # <- TW366
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
LIVE_GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
parts = [nn.Linear(64, 64), nn.ReLU()] * 1
for _ in range(9):
    parts += [nn.Linear(64, 64), nn.ReLU()]
model = nn.Sequential(*parts, nn.Linear(64, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(5):
    loss = model(torch.randn(8, 64)).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


BAD = """\
import torch
from torch import nn

layers = []
for _ in range(12):
    linear = nn.Linear(64, 64)
    nn.init.normal_(linear.weight, std=0.01)  # <- TW366
    layers += [linear, nn.ReLU()]
model = nn.Sequential(*layers)
"""
GOOD = """\
import torch
from torch import nn

layers = []
for _ in range(12):
    linear = nn.Linear(64, 64)
    nn.init.kaiming_normal_(linear.weight)
    layers += [linear, nn.ReLU()]
head = nn.Linear(64, 2)
nn.init.normal_(head.weight, std=0.01)
model = nn.Sequential(*layers, head)
"""

_LEAST_LAYERS, _MOST_SCALE = 6, 0.02


@rule(code="TW366", severity="hint")
def find_in_source(analysis: Analysis) -> Iterator[Hit]:
    """Look at loops that make several layers and give each small weights."""
    words = analysis.source.words
    if not words & {"normal_", "randn"} or any("Norm" in word for word in words):
        return
    for loop in analysis.nodes.get(ast.For, ()):
        count = _turns(loop)
        if count is None or count < _LEAST_LAYERS or not isinstance(loop, ast.For):
            continue
        for statement in loop.body:
            scale = _small_scale(statement)
            if scale is not None and scale <= _MOST_SCALE:
                yield Hit(
                    place=analysis.place(statement),
                    message=f"the weights of {count} layers in a row have a spread of {scale:g}, whatever their width",
                    fix="nn.init.kaiming_normal_ for ReLU, xavier_normal_ for tanh; or norms between layers.",
                )


def _turns(loop: ast.AST) -> int | None:
    call = loop.iter if isinstance(loop, ast.For) else None
    if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "range" and len(call.args) == 1:
        value = call.args[0]
        return value.value if isinstance(value, ast.Constant) and isinstance(value.value, int) else None
    return None


def _small_scale(statement: ast.stmt) -> float | None:
    """Return the spread that a statement gives to something called weight."""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        call = statement.value
        if getattr(call.func, "attr", "") != "normal_" or "weight" not in names_in(call):
            return None
        given = [k.value for k in call.keywords if k.arg == "std"] or call.args[2:3]
        return _number(given[0]) if given else None
    if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.BinOp):
        product = statement.value
        if "weight" in names_in(statement.targets[0]) and isinstance(product.op, ast.Mult):
            sides = (product.left, product.right)
            if any("randn" in names_in(one) for one in sides):
                return next((n for one in sides if (n := _number(one)) is not None), None)
    return None


def _number(node: ast.expr) -> float | None:
    return float(node.value) if isinstance(node, ast.Constant) and isinstance(node.value, int | float) else None


@rule(code="TW366", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield models that are so."""
    for signals in facts.signals:
        if len(signals.spreads) < 6:
            continue
        first, (name, least) = signals.spreads[0][1], min(signals.spreads[1:], key=lambda one: one[1])
        if 0 < least < 1e-6 * first:
            yield Hit(
                place=signals.place,
                message=f"the results of {name} in {signals.model} spread {least:.2g}, those of the first "
                f"layer {first:.2g}",
                evidence=(Evidence("spreads: " + ", ".join(f"{s:.2g}" for _, s in signals.spreads[:12])),),
                fix="nn.init.kaiming_normal_ for ReLU, xavier_normal_ for tanh; or norms between layers.",
            )
