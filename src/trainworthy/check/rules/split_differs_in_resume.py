"""Training and validation are split at random, by another draw in each run.

What it finds:
    `random_split(dataset, lengths)` or `train_test_split(samples)` without a generator or seed, in a program that seeds
    nothing before it, of a project that resumes from checkpoints.

Why:
    A resumed or evaluated run draws another split: it validates on what the model was trained on, and the number looks
    too good.

How sure:
    Neither the call nor the file, nor what it imports of the project, sets a seed, and the project loads the state of
    a model. A hint: a seed may be set in a program that imports this file, but then everything that is drawn before
    the split changes it, too.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called, keyword, scope_of
from trainworthy.check.static.everywhere import text_of
from trainworthy.check.static.tree import unparsed

BAD = """\
import torch
from torch.utils.data import random_split

model = torch.nn.Linear(4, 1)
model.load_state_dict(torch.load("checkpoint.pt"))
dataset = torch.utils.data.TensorDataset(torch.rand(100, 4))
train, valid = random_split(dataset, [80, 20])  # <- TW628
"""

GOOD = """\
import torch
from torch.utils.data import random_split

model = torch.nn.Linear(4, 1)
model.load_state_dict(torch.load("checkpoint.pt"))
dataset = torch.utils.data.TensorDataset(torch.rand(100, 4))
train, valid = random_split(dataset, [80, 20], generator=torch.Generator().manual_seed(0))
"""

_SEEDS = re.compile(r"seed\w*\(|random_state", re.IGNORECASE)
_AGAIN = re.compile(r"resume|snapshot|checkpoint|ckpt|start_epoch|init_process_group", re.IGNORECASE)
_NAMED = re.compile(r"train|dev|val", re.IGNORECASE)


@rule(code="TW628", severity="hint")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at random splits."""
    if not analysis.source.words & {"random_split", "train_test_split"}:
        return
    if any(_SEEDS.search(source.code) for source in analysis.sources):
        return
    for node in analysis.nodes.get(ast.Assign, ()):
        call = node.value if isinstance(node, ast.Assign) else None
        if not isinstance(node, ast.Assign) or not isinstance(call, ast.Call):
            continue
        if called(call) == "random_split":
            seeded = keyword(call, "generator") is not None or len(call.args) > 2
        elif called(call) == "train_test_split" and isinstance(call.func, ast.Name):
            shuffle = keyword(call, "shuffle")
            seeded = keyword(call, "random_state") is not None or getattr(shuffle, "value", True) is False
        else:
            continue
        hidden = any(one.arg is None for one in call.keywords)
        named = _NAMED.search(unparsed(node.targets[0]))
        if not seeded and not hidden and named and _resumes(analysis, call):
            yield Hit(
                place=analysis.place(call),
                message="each run, a resumed one too, splits in another way",
                fix="Give the split a generator, or state, with a seed of its own.",
            )


def _resumes(analysis: Analysis, call: ast.Call) -> bool:
    """Say whether the program, or one that imports this file, is started again from checkpoints.

    Ranks that each split for themselves are as bad: what one validates on, another trains on.
    """
    texts = [source.code for source in analysis.sources]
    if "__main__" not in analysis.source.code and scope_of(call, analysis.parents) is not analysis.source.tree:
        texts += _importers(Path(analysis.source.path))
    loads = any("load_state_dict(" in text or "load_from_checkpoint(" in text for text in texts)
    return loads and any(_AGAIN.search(text) for text in texts)


def _importers(path: Path) -> list[str]:
    """Return the programs in the same folder, or the two around it, that name a file as a module."""
    if not path.is_file():
        return []
    name = re.escape(path.stem)
    named = re.compile(rf"^\s*(?:from|import)\s[^\n]*\b{name}\b|['\"][\w.{{}}]*\b{name}['\"]", re.MULTILINE)
    around = [one for folder in path.resolve().parents[:3] for one in sorted(folder.glob("*.py"))]
    return [text for one in around if one != path.resolve() and named.search(text := text_of(str(one)))]
