"""BatchNorm layers are frozen, and their statistics move all the same.

What it finds:
    BatchNorm layers whose weight and bias have requires_grad=False, and whose running mean changed in two steps or
    more, in a model that trains otherwise, or in one that is frozen as a whole and stays as it is, such as a teacher in
    training mode. In the source: a method that freezes several parts and puts only some of
    them into evaluation mode, when another has batch norm in it.

Why:
    requires_grad does not stop the running statistics: in training mode the frozen part changes with every batch.

How sure:
    Sure that they moved; in the source, the part is made with batch norm, or with an option for a norm. Some methods
    (momentum encoders, adaptation to a new domain) want it so.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.live.runs import listed
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.frozen_parts import frozen_parts, parts_in_evaluation
from trainworthy.check.static.tree import nodes_of, unparsed

LIVE_BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
for p in model[:2].parameters():
    p.requires_grad_(False)
optimizer = torch.optim.SGD(model[3].parameters(), lr=0.1)
for step in range(5):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)  # <- TW358
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
LIVE_GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
for p in model[:2].parameters():
    p.requires_grad_(False)
optimizer = torch.optim.SGD(model[3].parameters(), lr=0.1)
for step in range(5):
    model.train()
    model[1].eval()
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW358", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield the layers together."""
    for fact in facts.norm_drifts:
        yield Hit(
            place=fact.mode_set_at or fact.place,
            message=f"{len(fact.names)} BatchNorm layer{'s' * (len(fact.names) > 1)} with frozen weights moved "
            f"their running statistics in {fact.steps} steps: {listed(fact.names)}",
            evidence=(Evidence("trains here", fact.place),) if fact.mode_set_at is not None else (),
            fix="Put them into evaluation mode after each model.train(): for m in frozen: m.eval().",
        )


BAD = """\
from torch import nn


class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
        self.body = nn.Sequential(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8))

    def freeze(self):
        for parameter in self.stem.parameters():  # <- TW358
            parameter.requires_grad = False
        self.body.eval()
        for parameter in self.body.parameters():
            parameter.requires_grad = False
"""
GOOD = """\
from torch import nn


class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
        self.body = nn.Sequential(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8))

    def freeze(self):
        for part in (self.stem, self.body):
            part.eval()
            for parameter in part.parameters():
                parameter.requires_grad = False
"""


@rule(code="TW358", severity="warning")
def find_in_source(analysis: Analysis) -> Iterator[Hit]:
    """Yield parts that a method freezes as it does others, but for their mode."""
    if "requires_grad" not in analysis.source.code or "eval" not in analysis.source.words:
        return
    for cls in analysis.nodes.get(ast.ClassDef, []):
        methods = [one for one in getattr(cls, "body", []) if isinstance(one, ast.FunctionDef)]
        for method in methods:
            frozen = frozen_parts(method)
            quiet = parts_in_evaluation(method) if frozen else {}
            others = [part for part in frozen if part in quiet]
            everywhere = {part for one in methods for part in parts_in_evaluation(one)} if others else set()
            for part, node in frozen.items():
                if others and part.startswith("self.") and part not in everywhere and _has_batch_norm(cls, part):
                    yield Hit(
                        place=analysis.place(node),
                        message=f"`{part}` is frozen, and its batch norm goes on in training mode",
                        evidence=(
                            Evidence(f"`{others[0]}` is put into evaluation mode", analysis.place(quiet[others[0]])),
                        ),
                        fix=f"Call `{part}.eval()`, too.",
                    )


def _has_batch_norm(cls: ast.AST, part: str) -> bool:
    """Say whether a class makes a part with batch norm, or with an option for a norm."""
    made = [
        unparsed(one.value) for one in nodes_of(cls, ast.Assign) if any(unparsed(each) == part for each in one.targets)
    ]
    return len(made) == 1 and _NORM.search(made[0]) is not None and _OTHER_NORM.search(made[0]) is None


_NORM = re.compile(r"BatchNorm|norm_(cfg|layer)=|SyncBN|\bbn\b|with_bn=True")
_OTHER_NORM = re.compile(r"LayerNorm|GroupNorm|FrozenBatchNorm|norm_(cfg|layer)=(None|'LN')")
