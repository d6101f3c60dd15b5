"""Mistakes put into code: what the edits make of it, and that a finding is only counted where it is new."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from benchmarks.injected_program import KINDS, Program

from benchmarks import injected

TRAINING = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(8, 8) for _ in range(3)])
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x).relu()
        x = x.unsqueeze(0)
        return self.head(x)


def train(model, loader, optimizer):
    criterion = nn.CrossEntropyLoss()
    total_loss = 0.0
    for x, y in loader:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(
            model.parameters(),
            1.0,
        )
        optimizer.step()
        total_loss += loss.item()
    return total_loss
"""


def made(kind: str, text: str = TRAINING) -> list[str]:
    """Return a program with the mistake of a kind, once for each place."""
    program = Program(text.encode())
    places = next(one.places for one in KINDS if one.name == kind)
    mistaken = [program.apply(place) for place in places(program)]
    return [one.decode() for one in mistaken if one is not None]


def test_kinds_have_a_name_of_their_own() -> None:
    names = [one.name for one in KINDS]
    assert len(names) == len(set(names)) > 50


def test_a_statement_taken_away_leaves_the_others_on_their_lines() -> None:
    (text,) = made("gradients never cleared")
    assert "zero_grad" not in text
    assert text.splitlines().index("        loss.backward()") == TRAINING.splitlines().index("        loss.backward()")


def test_a_statement_of_several_lines_is_moved_whole() -> None:
    (text,) = made("clipped after the step")
    loop = next(one for one in ast.walk(ast.parse(text)) if isinstance(one, ast.For) and "backward" in ast.unparse(one))
    calls = [ast.unparse(one).partition("(")[0] for one in loop.body]
    assert calls[-3:] == ["optimizer.step", "nn.utils.clip_grad_norm_", "total_loss += loss.item"]


def test_a_keyword_is_taken_out_with_its_comma() -> None:
    first = "import torch.nn as nn\nloss = nn.CrossEntropyLoss(ignore_index=pad, reduction='mean')\n"
    last = "import torch.nn as nn\nloss = nn.CrossEntropyLoss(weight, ignore_index=pad)\n"
    alone = "import torch.nn as nn\nloss = nn.CrossEntropyLoss(ignore_index=pad)\n"
    left = [made("padding counted in the loss", one)[0].partition("=")[2].strip() for one in (first, last, alone)]
    assert [ast.unparse(ast.parse(one)) for one in left] == [
        "nn.CrossEntropyLoss(reduction='mean')",
        "nn.CrossEntropyLoss(weight)",
        "nn.CrossEntropyLoss()",
    ]


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("gradients never cleared", "TW301"),
        ("gradients cleared once, before the loop", "TW301"),
        ("gradients cleared between backward and step", "TW312"),
        ("clipped after the step", "TW310"),
        ("running loss keeps the graph", "TW315"),
        ("layers in a plain list", "TW303"),
        ("one layer repeated in a list", "TW304"),
        ("result thrown away", "TW841"),
    ],
)
def test_what_is_made_is_found_and_the_file_put_back(kind: str, code: str, tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    file = tmp_path / "train.py"
    file.write_text(TRAINING)
    chosen = [one for one in KINDS if one.name == kind]
    rows = list(injected.tried({"name": "owner/name"}, tmp_path, chosen, 1))
    assert [(row["kind"], row["found"]) for row in rows] == [(kind, [code])]
    assert file.read_text() == TRAINING


def test_a_finding_that_was_there_before_does_not_count(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "train.py").write_text(
        "import torch\n\n\ndef f(x):\n    x.squeeze(0)\n    x = x.unsqueeze(1)\n    return x\n"
    )
    kind = next(one for one in KINDS if one.name == "result thrown away")
    hidden = type(kind)(name=kind.name, row=kind.row, codes=("TW301",), places=kind.places)
    rows = list(injected.tried({"name": "owner/name"}, tmp_path, [hidden], 1))
    assert [row["found"] for row in rows] == [[]]


def test_counts_are_by_half_and_kind() -> None:
    rows = [
        {"half": "train", "kind": "a", "found": ["TW301"]},
        {"half": "train", "kind": "a", "found": []},
        {"half": "test", "kind": "a", "found": []},
    ]
    assert injected.counted(rows) == {
        "train": {"a": {"found": 1, "made": 2}},
        "test": {"a": {"found": 0, "made": 1}},
    }
