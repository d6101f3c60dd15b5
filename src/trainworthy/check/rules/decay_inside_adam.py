"""Weight decay that Adam adds to the gradient.

What it finds:
    `torch.optim.Adam(..., weight_decay=x)` with x above 0: off by default. Also an `Adam` that is chosen by the name
    `adamw`.

Why:
    `Adam` adds the decay to the gradient and then divides by the root of the second moment, so weights with large
    gradients decay less; `AdamW` decays all alike. Values from papers on AdamW, such as 0.1, mean something else here.

How sure:
    Certain what is computed. Off by default, because whether it was meant is a matter of taste.

In real steps:
    An optimizer has one group of parameters with decay and one without, and the one without is empty, though some of
    the others, biases and weights of norms, have a single axis: the names that were to go there do not occur.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.live.runs import listed
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.queries import once_per_place
from trainworthy.check.static.tree import unparsed, walk

BAD = """\
import torch

net = torch.nn.Linear(4, 2)
optimizer = torch.optim.Adam(net.parameters(), weight_decay=0.1)  # <- TW372
"""

GOOD = """\
import torch

net = torch.nn.Linear(4, 2)
optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.1)
"""


@rule(code="TW372", severity="hint", default=False)
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the arguments of Adam."""
    yield from _by_the_other_name(analysis)
    for call in once_per_place(analysis.calls("torch.optim.Adam")):
        decay = call.constant(4, "weight_decay")
        if isinstance(decay, int | float) and decay > 0 and call.constant(None, "decoupled_weight_decay") is not True:
            yield Hit(
                place=analysis.place(call.node, call.context),
                message=f"Adam adds weight_decay={decay:g} to the gradient, where it is rescaled with it",
                fix="torch.optim.AdamW, with no decay for biases and norms.",
            )


def _by_the_other_name(analysis: Analysis) -> Iterator[Hit]:
    """Yield what is made, or chosen, where the name is `adamw`: as an entry of a dictionary, or under a comparison."""
    if not {"Adam"} <= analysis.source.words or "adamw" not in analysis.source.code.lower():
        return
    for entry, key in _named(analysis):
        found = [one for one in walk(entry) if isinstance(one, ast.Attribute | ast.Name) and unparsed(one) in _ADAM]
        text = unparsed(entry)
        if found and _ADAMW.fullmatch(key.lower()) and "AdamW" not in text and "decoupled_weight_decay" not in text:
            yield Hit(
                place=analysis.place(found[0]),
                message=f"`{key}` makes an Adam, which adds the decay to the gradient",
                fix="torch.optim.AdamW.",
            )


_ADAMW = re.compile(r"(torch[_.])?adam_?w")
_ADAM = ("torch.optim.Adam", "optim.Adam", "Adam")


def _named(analysis: Analysis) -> Iterator[tuple[ast.AST, str]]:
    for entries in analysis.nodes.get(ast.Dict, ()):
        for name, value in zip(entries.keys, entries.values, strict=True):  # type: ignore[attr-defined]
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                yield value, name.value
    for node in analysis.nodes.get(ast.If, ()):
        test = node.test  # type: ignore[attr-defined]
        if isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq):
            text = test.comparators[0]
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                yield ast.Module(body=node.body, type_ignores=[]), text.value  # type: ignore[attr-defined]


LIVE_BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 3))
plain = [p for n, p in model.named_parameters() if "LayerNorm.weight" in n]
rest = [p for n, p in model.named_parameters() if "LayerNorm.weight" not in n]
optimizer = torch.optim.AdamW([{"params": rest, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}])
for step in range(3):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()  # <- TW372
"""
LIVE_GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 3))
plain = [p for p in model.parameters() if p.ndim < 2]
rest = [p for p in model.parameters() if p.ndim >= 2]
optimizer = torch.optim.AdamW([{"params": rest, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}])
for step in range(3):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW372", severity="hint", depth="live", default=False)
def find_live(facts: LiveFacts) -> Iterator[Hit]:
    """Yield optimizers whose group without decay is empty."""
    for fact in facts.empty_groups:
        yield Hit(
            place=fact.place,
            message=f"The group of {fact.optimizer_class} without weight decay is empty; {fact.flat} parameters with a "
            f"single axis decay by {fact.decay:g}: {listed(fact.names)}",
            fix="Compare with the names of model.named_parameters(), or take those with p.ndim < 2.",
        )
