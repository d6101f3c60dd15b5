"""The targets of a causal model are its own inputs.

What it finds:
    More than 98 % of the targets equal the input at the same position, nothing is masked but ends of rows, and the loss
    falls towards copying; also in a loss of an evaluation, which then says nothing of the next token. In the source:
    both `shift_logits` and `shift_labels` are given the logits and labels as they are.

Why:
    A model that sees the token can copy it; nothing is learnt about the next one.

How sure:
    Sure of the match. Silent for models whose inputs are masked or corrupted, as theirs differ from the targets.
    An autoencoder of tokens is meant to be so. In the source: sure that neither is cut; one alone may have been shifted
    before.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.tree import nodes_of, walk

if TYPE_CHECKING:
    from trainworthy.check.live.facts_steps import LossTargets

BAD = """\
import torch.nn.functional as F


def loss_of(logits, labels):
    shift_logits = logits.contiguous()  # <- TW252
    shift_labels = labels.contiguous()
    return F.cross_entropy(shift_logits.view(-1, 50), shift_labels.view(-1))
"""
GOOD = """\
import torch.nn.functional as F


def loss_of(logits, labels):
    shift_logits = logits[..., :-1, :].contiguous()
    shift_labels = labels[..., 1:].contiguous()
    return F.cross_entropy(shift_logits.view(-1, 50), shift_labels.view(-1))
"""
LIVE_BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
class LanguageModel(nn.Module):
    def __init__(self, causal=True):
        super().__init__()
        self.embed = nn.Embedding(50, 16)
        self.mix = nn.Linear(16, 16)
        self.head = nn.Linear(16, 50)
        self.causal = causal

    def forward(self, ids):
        x = self.embed(ids)
        seen = x.cumsum(1) if self.causal else x.sum(1, keepdim=True) + x
        return self.head(torch.tanh(self.mix(seen)))


model = LanguageModel()
optimizer = torch.optim.Adam(model.parameters())
for step in range(4):
    tokens = torch.randint(50, (4, 32))
    ids, targets = tokens[:, :-1], tokens[:, :-1]
    logits = model(ids)
    loss = nn.functional.cross_entropy(logits.reshape(-1, 50), targets.reshape(-1))  # <- TW252
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
LIVE_GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
class LanguageModel(nn.Module):
    def __init__(self, causal=True):
        super().__init__()
        self.embed = nn.Embedding(50, 16)
        self.mix = nn.Linear(16, 16)
        self.head = nn.Linear(16, 50)
        self.causal = causal

    def forward(self, ids):
        x = self.embed(ids)
        seen = x.cumsum(1) if self.causal else x.sum(1, keepdim=True) + x
        return self.head(torch.tanh(self.mix(seen)))


model = LanguageModel()
optimizer = torch.optim.Adam(model.parameters())
for step in range(4):
    tokens = torch.randint(50, (4, 32))
    ids, targets = tokens[:, :-1], tokens[:, 1:]
    logits = model(ids)
    loss = nn.functional.cross_entropy(logits.reshape(-1, 50), targets.reshape(-1))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW252", severity="warning")
def find_in_source(analysis: Analysis) -> Iterator[Hit]:
    """Look at what is called shifted."""
    if not any("shift" in word for word in analysis.source.words):
        return
    for function in analysis.nodes.get(ast.FunctionDef, ()):
        given = [one for one in nodes_of(function, ast.Assign) if _is_called_shifted(one)]
        names = {getattr(one.targets[0], "id", "") for one in given}
        logits = next((one for one in given if "logit" in getattr(one.targets[0], "id", "")), None)
        first = all(not _is_from(one.value, names) for one in given)
        labels = any(_LABELS.search(name) for name in names)
        if logits is not None and labels and first and all(_is_as_it_is(one.value) for one in given):
            yield Hit(
                place=analysis.place(logits),
                message="what is called shifted is not: the logits of each token meet its own label",
                fix="For next-token prediction: logits[..., :-1, :] against labels[..., 1:].",
            )


_LABELS = re.compile(r"label|target")


def _is_called_shifted(statement: ast.Assign) -> bool:
    target = statement.targets[0]
    named = isinstance(target, ast.Name) and re.match(r"shift(ed)?_", target.id) is not None
    return named and not _is_from(statement.value, {getattr(target, "id", "")})


def _is_from(node: ast.expr, names: set[str]) -> bool:
    return any(isinstance(one, ast.Name) and one.id in names for one in walk(node))


def _is_as_it_is(node: ast.expr) -> bool:
    """Say whether a value is a variable, in another layout or type at most."""
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        if node.func.attr not in ("contiguous", "view", "reshape", "float", "to", "clone", "detach"):
            return False
        node = node.func.value
    return isinstance(node, ast.Name)


@rule(code="TW252", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield losses without a shift."""
    yield from _unshifted(facts.targets, "steps")
    yield from _unshifted(facts.stepped_targets, "steps, with one token after the other")
    yield from _unshifted(facts.evaluated_targets, "losses of the evaluation")


def _unshifted(targets: list[LossTargets], where: str) -> Iterator[Hit]:
    for place in dict.fromkeys(t.place for t in targets):
        found = [t for t in targets if t.place == place and t.matches is not None]
        matches = [t.matches for t in found if t.matches is not None]
        whole = all(t.num_counted == t.num_targets or t.ignored_at_end for t in found)
        if len(found) >= 2 and whole and all(m[0] > 0.98 and max(m[1:]) < 0.5 for m in matches):
            yield Hit(
                place=place,
                message=f"{matches[0][0]:.0%} of the targets are the input token at the same position",
                evidence=(Evidence(f"the same in {len(found)} {where}; no target is ignored but at the end"),),
                fix="For next-token prediction: logits[:, :-1] against ids[:, 1:].",
            )
