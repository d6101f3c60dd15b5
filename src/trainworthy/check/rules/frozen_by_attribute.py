"""A module gets an attribute `requires_grad`.

What it finds:
    `model.requires_grad = False` where `model` is a module, not a parameter. In real steps: such an attribute was set,
    and the module's parameters still require gradients at the end.

Why:
    The attribute means nothing to a module; its parameters go on training.

How sure:
    The object is a module.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Edit, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.external import is_module
from trainworthy.check.static.values import UNKNOWN, Const

BAD = """\
import torch.nn as nn

backbone = nn.Linear(4, 4)
backbone.requires_grad = False  # <- TW319
"""

GOOD = """\
import torch.nn as nn

backbone = nn.Linear(4, 4)
backbone.requires_grad_(False)
backbone.weight.requires_grad = True
"""

LIVE_BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
for name in ("0", "1"):
    model._modules[name].requires_grad = False  # <- TW319
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(4):
    loss = nn.functional.cross_entropy(model(torch.randn(8, 4)), torch.randint(3, (8,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
LIVE_GOOD = LIVE_BAD.replace("requires_grad = False  # <- TW319", "requires_grad_(False)")


@rule(code="TW319", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at assignments."""
    for store in analysis.stores:
        target = store.target
        if not isinstance(target, ast.Attribute) or target.attr != "requires_grad" or store.owner is None:
            continue
        known = is_module(store.owner) and isinstance(store.value, Const)
        unknown = store.owner is UNKNOWN and _NETWORKS.search(last_name(target.value)) is not None
        if not known and not unknown:
            continue
        owner = analysis.segment(target.value, store.context)
        value = analysis.segment(store.node.value, store.context) if isinstance(store.node, ast.Assign) else ""
        place = analysis.place(store.node, store.context)
        yield Hit(
            place=place,
            message="a module has no `requires_grad`; its parameters keep theirs",
            fix=f"Call `{owner}.requires_grad_({value})`.",
            edits=(Edit(place, f"{owner}.requires_grad_({value})"),) if known and _single(store.node) else (),
        )


@rule(code="TW319", severity="error", depth="live")
def find_live(facts: LiveFacts) -> Iterator[Hit]:
    """Yield modules that were to be frozen."""
    for fact in facts.not_frozen:
        name = f"{fact.module} ({fact.class_name})" if fact.module else fact.class_name
        yield Hit(
            place=fact.place,
            message=f"{name} got `requires_grad = False`, which a module does not have: its {fact.parameters} "
            "parameters go on training",
            fix="Call `.requires_grad_(False)` of the module.",
        )


# Names of whole networks; what is called so is no tensor.
_NETWORKS = re.compile(r"(model|network|backbone|pooler|encoder|decoder|resnet|bert)$")


def _single(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and len(node.targets) == 1
