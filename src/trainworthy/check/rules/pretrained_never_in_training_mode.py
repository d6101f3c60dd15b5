"""A pretrained model, which comes in evaluation mode, is trained without `train()`.

What it finds:
    `AutoModel...from_pretrained(...)` of transformers in a program with its own training loop and without a single
    `train()`.

Why:
    `from_pretrained` ends with `model.eval()`. The training runs without dropout, and with the running statistics of
    batch norms.

How sure:
    The loop calls `backward` and an optimizer's `step` itself, and the word `train(` occurs nowhere in the file. Silent
    where a trainer of a library runs the loop.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import function_around
from trainworthy.check.static.queries import once_per_place
from trainworthy.check.static.tree import nodes_of, unparsed

BAD = """\
import torch
from transformers import AutoModelForSequenceClassification

model = AutoModelForSequenceClassification.from_pretrained("bert-base-uncased")
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
for batch in torch.load("batches.pt"):
    loss = model(**batch).loss  # <- TW359
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""

GOOD = """\
import torch
from transformers import AutoModelForSequenceClassification

model = AutoModelForSequenceClassification.from_pretrained("bert-base-uncased")
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
model.train()
for batch in torch.load("batches.pt"):
    loss = model(**batch).loss
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""

_MODELS = re.compile(r"^transformers\.(AutoModel\w*|\w+Model|\w+For[A-Z]\w+|\w+LMHeadModel)\.from_pretrained$")
_TRAINS = re.compile(r"\btrain\s*\(|Trainer\b|Lightning|\.train\b|deepspeed|trainer")


@rule(code="TW359", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at programs that load a model of transformers and train it."""
    words = analysis.source.words
    if not {"transformers", "from_pretrained", "backward", "step"} <= words or _TRAINS.search(analysis.source.code):
        return
    for made in once_per_place(iter(analysis.all_calls)):
        if made.context.source is not analysis.source or not _MODELS.match(made.name):
            continue
        parent = analysis.parents.get(made.node)
        while isinstance(parent, ast.Attribute | ast.Call):
            parent = analysis.parents.get(parent)
        name = unparsed(parent.targets[0]) if isinstance(parent, ast.Assign) else ""
        call = _called(analysis, name, function_around(analysis.parents, made.node))
        if call is not None and f"{name}.parameters()" in analysis.source.code:
            yield Hit(
                place=analysis.place(call),
                message=f"`{name}` is trained in evaluation mode: `from_pretrained` leaves it there, and nothing calls "
                "`train()`",
                evidence=(Evidence("it is loaded here", analysis.place(made.node)),),
                fix=f"Call `{name}.train()` before the loop.",
            )


def _called(analysis: Analysis, name: str, function: ast.AST | None) -> ast.Call | None:
    """Return the call of a model in the loop of the same function that trains."""
    for loop in analysis.nodes.get(ast.For, []):
        inner = nodes_of(loop, ast.Call)
        if any(getattr(one.func, "attr", "") == "backward" for one in inner):
            found = [one for one in inner if unparsed(one.func) == name]
            if found and function_around(analysis.parents, found[0]) is function:
                return found[0]
    return None
