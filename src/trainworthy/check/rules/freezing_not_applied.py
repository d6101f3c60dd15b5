"""Layers that `train()` freezes are trained: it was never called.

What it finds:
    A model in training mode whose class overrides `train`, with parameters that get gradients, and that `train()` would
    freeze. Found by calling it on a copy. In the source: a module whose `train` method sets `requires_grad` to False,
    itself or by a method of its own that `__init__` does not call.

Why:
    Backbones freeze their first stages in `train()`, as `frozen_stages=1` asks them to. A new module is in training
    mode already, so a loop without `model.train()` trains what was to be frozen.

How sure:
    In the source a hint: a script that calls `train()` first is right. Live it is sure. The copy is made once, after
    the first step; models above 512 MiB, or with hooks, are left out.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.live.runs import listed
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.tree import walk
from trainworthy.check.static.values import Function, ProjectClass

BAD = """\
from torch import nn


class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(4, 4)

    def train(self, mode=True):
        super().train(mode)
        for p in self.stem.parameters():
            p.requires_grad = False  # <- TW335
        return self
"""
GOOD = """\
from torch import nn


class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(4, 4)
        self._freeze()

    def _freeze(self):
        for p in self.stem.parameters():
            p.requires_grad = False

    def train(self, mode=True):
        super().train(mode)
        self._freeze()
        return self
"""
LIVE_BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Linear(4, 8), nn.Linear(8, 3)

    def train(self, mode=True):
        super().train(mode)
        self.stem.requires_grad_(False)
        return self

    def forward(self, x):
        return self.head(self.stem(x).relu())


model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(3):
    scores = model(torch.randn(8, 4))  # <- TW335
    loss = nn.functional.cross_entropy(scores, torch.randint(3, (8,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
LIVE_GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Linear(4, 8), nn.Linear(8, 3)

    def train(self, mode=True):
        super().train(mode)
        self.stem.requires_grad_(False)
        return self

    def forward(self, x):
        return self.head(self.stem(x).relu())


model = Net().train()
optimizer = torch.optim.SGD(model.head.parameters(), lr=0.1)
for step in range(3):
    scores = model(torch.randn(8, 4))
    loss = nn.functional.cross_entropy(scores, torch.randint(3, (8,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW335", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at train methods and what they call."""
    if not analysis.source.words.intersection(("requires_grad", "requires_grad_")):
        return
    for cls in analysis.classes:
        train = _method(cls, "train")
        if train is None or not cls.outside_base().startswith("torch.nn."):
            continue
        freezing = [(name, node) for name, node in _reached(cls, train) if any(True for _ in _freezes(node))]
        called = {name for name, _ in freezing}
        begun = _method(cls, "__init__")
        if freezing and not (called | {"train"}) & set(_calls(begun)) and not any(True for _ in _freezes(begun)):
            yield Hit(
                place=analysis.place(_statement_in(train, freezing[0])),
                severity="hint",
                message="layers are frozen when train() is called, and not before",
                fix="Freeze in __init__ too.",
            )


def _method(cls: ProjectClass, name: str) -> ast.FunctionDef | None:
    member = cls.members.get(name)
    return member.node if isinstance(member, Function) and isinstance(member.node, ast.FunctionDef) else None


def _reached(cls: ProjectClass, train: ast.FunctionDef) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Yield the method and those of the class that it calls."""
    yield "train", train
    for name in _calls(train):
        node = _method(cls, name)
        if node is not None and name != "train":
            yield name, node


def _statement_in(train: ast.FunctionDef, freezing: tuple[str, ast.FunctionDef]) -> ast.AST:
    """Return what freezes in ``train``: the call of another method that does."""
    name, node = freezing
    if node is train:
        return next(_freezes(node))
    return next(one for one in walk(train) if isinstance(one, ast.Call) and name in _calls_of(one))


def _calls_of(node: ast.Call) -> Iterator[str]:
    if isinstance(node.func, ast.Attribute) and getattr(node.func.value, "id", "") == "self":
        yield node.func.attr


def _calls(node: ast.FunctionDef | None) -> Iterator[str]:
    for one in walk(node) if node is not None else ():
        if isinstance(one, ast.Call):
            yield from _calls_of(one)


def _freezes(node: ast.FunctionDef | None) -> Iterator[ast.stmt]:
    """Yield the statements that turn gradients off."""
    for one in walk(node) if node is not None else ():
        if isinstance(one, ast.Assign) and isinstance(one.value, ast.Constant) and one.value.value is False:
            if any(isinstance(t, ast.Attribute) and t.attr == "requires_grad" for t in one.targets):
                yield one
        elif isinstance(one, ast.Expr) and isinstance(one.value, ast.Call):
            func, args = one.value.func, one.value.args
            off = bool(args) and isinstance(args[0], ast.Constant) and args[0].value is False
            if isinstance(func, ast.Attribute) and func.attr == "requires_grad_" and off:
                yield one


@rule(code="TW335", severity="warning", depth="live")
def find_live(facts: LiveFacts) -> Iterator[Hit]:
    """Yield models whose freezing is not in force."""
    for fact in facts.unapplied_freezes:
        at = fact.defined_at
        yield Hit(
            place=fact.place,
            message=f"{len(fact.names)} parameters train that {fact.class_name}.train() would freeze: "
            f"{listed(fact.names)}",
            evidence=(Evidence("train() is defined here", at),) if at else (),
            fix="Call model.train() before the first step; or freeze in __init__ too.",
        )
