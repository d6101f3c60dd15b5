"""After the steps a script goes on to its evaluation, which is looked at, and ends where it trains again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _BaseDataLoaderIter

from check.depths import lived
from trainworthy.check.live.closing import EVALUATION_BATCHES
from trainworthy.check.live.command import check_live

TRAINS = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
model = nn.Linear(4, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
data = TensorDataset(torch.randn(64, 4), torch.randint(3, (64,)))
train, held_out = DataLoader(data, 4, shuffle=True), DataLoader(data, 2)
steps, seen, evaluated = [], [], []


def epoch():
    model.train()
    for x, y in train:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        steps.append(len(x))

"""
EVALUATES = """
def evaluate():
    model.eval()
    hits = 0.0
    with torch.no_grad():
        for x, y in held_out:
            hits += (model(x).argmax(1, keepdim=True) == y).float().sum().item()
            seen.append(len(x))
    evaluated.append(hits)


for _ in range(3):
    epoch()
    evaluate()
"""
LINE = (TRAINS + EVALUATES).split("\n").index(
    "            hits += (model(x).argmax(1, keepdim=True) == y).float().sum().item()"
) + 1


def checked(program: str, folder: Path, steps: int = 5) -> tuple[list[tuple[str, int]], dict[str, object] | None]:
    script = folder / "train.py"
    script.write_text(program, encoding="utf-8")
    result = check_live(str(script), steps=steps)
    return [(f.code, f.place.line) for f in result.findings], result.error


def test_a_mistake_of_the_evaluation_is_found_after_the_steps(tmp_path: Path) -> None:
    found, error = checked(TRAINS + EVALUATES, tmp_path)
    assert ("TW101", LINE) in found
    assert error is None


def test_the_script_ends_where_it_trains_again_and_its_loaders_before(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    body = EVALUATES.replace("    epoch()\n", '    epoch()\n    print("steps", len(steps))\n')
    script.write_text(TRAINS + body.replace("    evaluate()\n", '    evaluate()\n    print("batches", len(seen))\n'))
    logs: list[str] = []
    check_live(str(script), steps=5, on_log=lambda log: logs.append(log.text()))
    assert logs[0].split() == ["steps", "5", "batches", str(EVALUATION_BATCHES)]


@pytest.mark.parametrize(
    "after",
    [
        "assert len(seen) == 32, 'not all was evaluated'",
        "batches = iter(train)\nfor _ in range(10):\n    next(batches)",
    ],
)
def test_what_is_raised_after_loaders_that_ended_early_is_told_and_no_failure(after: str, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(TRAINS + EVALUATES.replace("range(3)", "range(1)") + "\n" + after + "\n", encoding="utf-8")
    result = check_live(str(script), steps=5)
    assert ("TW101", LINE) in [(f.code, f.place.line) for f in result.findings]
    assert result.error is None
    assert [one["look"] for one in result.left_out] == ["the evaluation after the steps"]


def test_a_script_that_fails_before_its_steps_are_over_has_failed(tmp_path: Path) -> None:
    _, error = checked(TRAINS + "epoch()\nraise ValueError('mine')\n", tmp_path, steps=50)
    assert error is not None
    assert "mine" in str(error["message"])


def test_two_optimizers_that_step_for_one_loss_are_one_turn(tmp_path: Path) -> None:
    program = TRAINS.replace(
        "optimizer = torch.optim.SGD(model.parameters(), lr=0.1)",
        "optimizer = torch.optim.SGD([model.weight], lr=0.1)\nother = torch.optim.SGD([model.bias], lr=0.1)",
    ).replace("        optimizer.step()\n", "        optimizer.step()\n        other.step()\n")
    found, _ = checked(program.replace("optimizer.zero_grad()", "model.zero_grad()") + EVALUATES, tmp_path)
    assert ("TW101", LINE + 2) in found


@pytest.mark.parametrize("workers", [0, 2])
def test_transforms_that_are_modules_are_no_training(workers: int, tmp_path: Path) -> None:
    data = """
class Scaled(nn.Module):
    def forward(self, x):
        return x / 2


class Data(torch.utils.data.Dataset):
    scale = Scaled()

    def __len__(self):
        return 64

    def __getitem__(self, index):
        return self.scale(torch.randn(4)), torch.tensor(index % 3)
"""
    program = TRAINS.replace(
        "data = TensorDataset(torch.randn(64, 4), torch.randint(3, (64,)))", f"{data}\n\ndata = Data()"
    ).replace("DataLoader(data, 2)", f"DataLoader(data, 2, num_workers={workers})")
    script = tmp_path / "train.py"
    script.write_text(program + EVALUATES, encoding="utf-8")
    result = check_live(str(script), steps=5)
    line = (
        (program + EVALUATES)
        .split("\n")
        .index("            hits += (model(x).argmax(1, keepdim=True) == y).float().sum().item()")
    )
    assert ("TW101", line + 1) in [(f.code, f.place.line) for f in result.findings]
    assert (result.error, result.left_out) == (None, ())


def test_torch_is_as_before(tmp_path: Path) -> None:
    before = DataLoader.__iter__, _BaseDataLoaderIter.__next__, torch.nn.Module.__call__
    found = lived(TRAINS + EVALUATES, tmp_path / "train.py", steps=5)
    assert "TW101" in {f.code for f in found}
    assert (DataLoader.__iter__, _BaseDataLoaderIter.__next__, torch.nn.Module.__call__) == before


def test_a_guard_in_a_loop_changes_nothing_in_it(tmp_path: Path) -> None:
    found = lived(TRAINS + EVALUATES, tmp_path / "train.py", steps=5, evaluation_too=False)
    assert "TW101" not in {f.code for f in found}
