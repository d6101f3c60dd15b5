"""``trainworthy train`` as a user calls it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainworthy.cli.main import main

RECIPE = '''
"""A line through points.

It teaches nothing.
"""
import torch
from torch import nn
from torch.utils.data import TensorDataset
from trainworthy.train import Loss, Phase, Quality, Recipe, TrainOptions

def recipe(*, lr: float = 0.1, slope: float = 3.0, wanted: float = 0.05, broken: bool = False) -> Recipe:
    x = torch.linspace(-1, 1, 32)[:, None]
    data = TensorDataset(x, slope * x)

    def loss(model, batch):
        error = (model(batch[0]) - batch[1]).square().sum()
        return Loss(total=error * (float("nan") if broken else 1), weight=len(batch[0]))

    return Recipe(
        model=lambda: nn.Linear(1, 1),
        phases=(Phase(loss=loss, optimizer=lambda named: torch.optim.SGD([p for _, p in named], lr=lr)),),
        train_data=data, validation_data=data, options=TrainOptions(epochs=20, batch_size=8, tensorboard=False),
        finish=lambda model: {"error": abs(float(model.weight) - slope)},
        quality=Quality(metric="error", at_most=wanted),
    )
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    before = Path.cwd()
    (tmp_path / "line.py").write_text(RECIPE)
    monkeypatch.syspath_prepend(str(tmp_path))
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(before)
    for name in [name for name, module in sys.modules.items() if str(tmp_path) in str(getattr(module, "__file__", ""))]:
        del sys.modules[name]


def run(*words: str) -> int:
    return main(["train", *words])


def test_a_recipe_is_trained_and_its_folder_filled(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("line.py", "lr=0.3") == 0
    out = capsys.readouterr().out
    assert "quality  error" in out
    assert ": met" in out
    made = {each.name for each in (folder / "runs" / "line").iterdir()}
    assert made >= {
        "checkpoints", "config.yaml", "environment.json", "metrics.jsonl", "recipe.py", "report.html", "report.md",
    }  # fmt: skip
    page = (folder / "runs" / "line" / "report.html").read_text()
    assert "<svg" in page
    assert "//" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "| `lr` | 0.3 |" in (folder / "runs" / "line" / "report.md").read_text()


def test_the_same_command_again_goes_on_and_another_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("line.py", "train.epochs=2", "wanted=100") == 0
    rows = (folder / "runs/line/metrics.jsonl").read_text().splitlines()
    assert run("line.py", "train.epochs=2", "wanted=100") == 0
    again = (folder / "runs/line/metrics.jsonl").read_text().splitlines()
    trained = [row for row in again if json.loads(row)["kind"] == "train"]
    assert trained == [row for row in rows if json.loads(row)["kind"] == "train"]  # no step was taken twice
    assert run("line.py", "train.epochs=2", "wanted=100", "lr=0.2") == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("trainworthy: ")
    assert "lr 0.1 there and 0.2 here" in error
    assert run("--config", "runs/line/config.yaml", "line.py", "--output", "other") == 0


def test_a_quality_that_is_not_met_is_exit_code_1(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("line.py", "train.epochs=1", "lr=0.001") == 1
    assert "NOT MET" in capsys.readouterr().out
    assert run("line.py", "train.epochs=1", "lr=0.001", "--exit-zero") == 0


def test_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("line.py", "--format", "json", "--output", "here") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema_version"] == 1
    assert (found["step"], found["stopped_by"], found["folder"]) == (80, "end", "here")
    assert found["quality"]["met"] is True
    assert found["settings"]["train.batch_size"] == 8


def test_a_loss_that_is_not_finite_is_one_message(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("line.py", "broken=true") == 1
    error = capsys.readouterr().err
    assert "trainworthy: The loss is nan" in error
    assert "Traceback" not in error


def test_the_guard_is_one_option(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("line.py", "train.epochs=2", "train.guard_steps=3", "wanted=100") == 0
    assert "guard: nothing found in 3 steps" in capsys.readouterr().err


def test_lists(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= 9
    assert any(line.startswith("digits ") for line in lines)
    assert run("line.py", "--settings") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["lr", "0.1", "a", "finite", "number"]
    assert any(line.startswith("train.batch_size ") for line in lines)
    assert run("--list", "--format", "json") == 0
    assert {"name", "teaches"} == set(json.loads(capsys.readouterr().out)[0])


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["line.py", "--lr=3"], "settings have no dashes: lr=3"),
        (["line.py", "--fast"], "--fast is no option"),
        (["lr=3", "line.py"], "comes before the recipe"),
        (["line.py", "lrr=3"], "did you mean lr?"),
        (["line.py", "--procs", "0"], "--procs is 0"),
        (["line.py", "--resume", "never", "train.resume=auto"], "train.resume is given twice"),
        (["nowhere.py"], "There is no file nowhere.py"),
        (["line.py", "--config", "absent.yaml"], "absent.yaml cannot be read"),
        (["line.py", "--output", "line.py"], "is a file"),
    ],
)
def test_wrong_use_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], text: str) -> None:
    assert run(*words) == 2
    (error,) = capsys.readouterr().err.strip().splitlines()
    assert text in error
    assert not (folder / "runs").exists()


def test_no_recipe_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run()
    assert caught.value.code == 2
    assert "--list" in capsys.readouterr().err


def test_listing_imports_no_torch() -> None:
    code = "import sys; from trainworthy.cli.main import main; main(['train', '--list']); exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=120)


def test_two_processes_train_as_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("line.py", "train.epochs=2", "wanted=100", "--output", "one") == 0
    capsys.readouterr()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = ["line.py", "train.epochs=2", "wanted=100", "--output", "two", "--procs", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "trainworthy", "train", *words],
        capture_output=True, text=True, timeout=300, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("line.py: step 8") == 1  # only the first rank prints
    losses = []
    for name in ("one", "two"):
        rows = [json.loads(line) for line in (folder / name / "metrics.jsonl").read_text().splitlines()]
        losses.append([row["loss"] for row in rows if row["kind"] == "evaluation"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_dry_run_trains_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("line.py", "--dry-run", "--format", "json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rehearsal"]["verdict"] == "fits"
    assert found["estimate"]["step_time_s"]["expected"] > 0
    assert found["check"]["findings"] == []
    assert not (folder / "runs").exists()


def test_a_dry_run_refuses_a_batch_that_leaves_ranks_without_a_sample(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("line.py", "--dry-run", "--world-size", "64", "train.batch_size=48") == 2
    said = capsys.readouterr().err
    assert "train.batch_size is 48: of 64 ranks that read data, 16 would have no sample." in said
    assert "train.batch_size=64" in said
