"""`generate` makes more tokens than it was asked for.

What it finds:
    In the source: `limit = ids.shape[1] + n`, then `ids = ids[:, -window:]` or another slice of itself, then `while
    ids.shape[1] < limit`. Live: a call of a method or function `generate` with `max_new_tokens=N` during which the
    model ran more than N + 1 times.

Why:
    The limit was computed from a prompt that was cut afterwards, or is a total length where a number of new tokens was
    meant. Evaluation during training takes longer than planned, and runs over the model's context.

How sure:
    In the source, the three statements stand in this order in one function. Live, sure of the count. Each run of the
    model gives at least one token; searches that look several times at each (assisted, contrastive) are left out.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.tree import unparsed, walk

BAD = """\
import torch


def generate(model, ids, count, window):
    limit = ids.shape[1] + count
    ids = ids[:, -window:]
    while ids.shape[1] < limit:  # <- TW334
        ids = torch.cat([ids, model(ids)[:, -1:].argmax(-1)], dim=1)
    return ids
"""
GOOD = """\
import torch


def generate(model, ids, count, window):
    ids = ids[:, -window:]
    limit = ids.shape[1] + count
    while ids.shape[1] < limit:
        ids = torch.cat([ids, model(ids)[:, -1:].argmax(-1)], dim=1)
    return ids
"""
LIVE_BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(10, 10)

    def forward(self, ids):
        return self.table(ids)

    @torch.no_grad()
    def generate(self, ids, max_new_tokens):
        limit = ids.shape[1] + max_new_tokens
        ids = ids[:, -4:]
        while ids.shape[1] < limit:
            scores = self(ids)  # <- TW334
            ids = torch.cat([ids, scores[:, -1:].argmax(-1)], dim=1)
        return ids


model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(3):
    ids = torch.randint(10, (8, 5))
    loss = nn.functional.cross_entropy(model(ids).flatten(0, 1), torch.randint(10, (40,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
model.eval()
model.generate(torch.randint(10, (1, 12)), max_new_tokens=3)
"""
LIVE_GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(10, 10)

    def forward(self, ids):
        return self.table(ids)

    @torch.no_grad()
    def generate(self, ids, max_new_tokens):
        for _ in range(max_new_tokens):
            ids = torch.cat([ids, self(ids)[:, -1:].argmax(-1)], dim=1)
        return ids


model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(3):
    ids = torch.randint(10, (8, 5))
    loss = nn.functional.cross_entropy(model(ids).flatten(0, 1), torch.randint(10, (40,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    model.eval()
    for _ in range(3):
        model.generate(torch.randint(10, (1, 12)), max_new_tokens=3)
    model.train()
"""


@rule(code="TW334", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at loops that run up to a length."""
    if "shape" not in analysis.source.words and "size" not in analysis.source.words:
        return
    for function in analysis.nodes.get(ast.FunctionDef, ()):
        if not isinstance(function, ast.FunctionDef):
            continue
        for loop in _loops(function.body):
            found = _limit_of(loop)
            if found is None:
                continue
            text, limit = found
            earlier = [one for one in function.body if one.lineno < loop.lineno and isinstance(one, ast.Assign)]
            measured = [one for one in earlier if _sets(one, limit) and text in unparsed(one.value)]
            name = text.partition(".")[0]
            cut = [one for one in earlier if _sets(one, name) and _is_slice_of(one.value, name)]
            if len(measured) == 1 and cut and cut[-1].lineno > measured[0].lineno:
                yield Hit(
                    place=analysis.place(loop),
                    severity="error",
                    message=f"`{limit}` was measured before `{name}` was cut: the loop runs longer than was asked for",
                    evidence=(
                        Evidence("it is measured here", analysis.place(measured[0])),
                        Evidence("it is cut here", analysis.place(cut[-1])),
                    ),
                    fix=f"Measure `{limit}` after the cut.",
                )


def _loops(body: list[ast.stmt]) -> Iterator[ast.While]:
    """Yield the loops that always run: those of the function, and of its with blocks."""
    for one in body:
        if isinstance(one, ast.While):
            yield one
        elif isinstance(one, ast.With):
            yield from _loops(one.body)


def _limit_of(loop: ast.stmt) -> tuple[str, str] | None:
    """Return the length and the name that a loop compares it with."""
    test = loop.test if isinstance(loop, ast.While) else None
    if not isinstance(test, ast.Compare) or len(test.ops) != 1 or not isinstance(test.ops[0], ast.Lt | ast.LtE):
        return None
    limit, length = test.comparators[0], unparsed(test.left)
    is_length = ".shape[" in length or ".size(" in length
    return (length, limit.id) if is_length and isinstance(limit, ast.Name) else None


def _sets(node: ast.Assign, name: str) -> bool:
    return len(node.targets) == 1 and getattr(node.targets[0], "id", "") == name


def _is_slice_of(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Subscript) and getattr(node.value, "id", "") == name and any(
        isinstance(one, ast.Slice) and (one.lower is not None or one.upper is not None) for one in walk(node.slice)
    )  # fmt: skip


@rule(code="TW334", severity="warning", depth="live")
def find_live(facts: LiveFacts) -> Iterator[Hit]:
    """Yield calls that made too many."""
    for fact in facts.generations:
        yield Hit(
            place=fact.place,
            message=f"generate(max_new_tokens={fact.asked}) ran {fact.model} {fact.made} times",
            fix="Count new tokens, not the whole length; compute the limit after the prompt is cut.",
        )
