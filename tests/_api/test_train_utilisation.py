"""What the utilisation of a run is worked out from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import trainworthy
from trainworthy._api.train_utilisation import UNKNOWN, rehearsed_words, utilisation
from trainworthy.errors import TrainworthyError, UsageError
from trainworthy.train.recipe import TrainOptions

RECIPE = """
import torch
from torch import nn
from trainworthy.train import Loss, Phase, Recipe, TrainOptions

def loss(model, batch):
    return Loss(total=model(batch[0]).square().sum(), weight=len(batch[0]))

def recipe(width: int = 64) -> Recipe:
    return Recipe(
        model=lambda: nn.Sequential(nn.Linear(32, width, bias=False), nn.Linear(width, 8, bias=False)),
        phases=(Phase(loss=loss, optimizer=lambda named: torch.optim.SGD([p for _, p in named], lr=0.1)),),
        train_data=torch.utils.data.TensorDataset(torch.randn(256, 32)),
        options=TrainOptions(steps=8, batch_size=16),
    )
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "my_recipe.py"
    path.write_text(RECIPE)
    return path


def on_h100(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "NVIDIA H100 80GB HBM3")


def test_flops_are_those_of_the_formula(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward 2 B (32 W + 8 W); backward twice that, but for the gradient of the data."""
    on_h100(monkeypatch)
    found = utilisation(TrainOptions(mfu=True, precision="bf16"), [str(recipe), "width=48"])
    assert found.flops_per_step == 16 * 48 * (2 * (32 + 8) + 2 * 32 + 4 * 8)
    assert found.peak_flops_per_s == pytest.approx(989e12, rel=1e-2)  # NVIDIA's data sheet, dense


def test_only_where_it_is_asked_for_and_on_rank_0(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert utilisation(TrainOptions(), [str(recipe)]) is UNKNOWN
    monkeypatch.setenv("RANK", "1")
    assert utilisation(TrainOptions(mfu=True), [str(recipe)]) is UNKNOWN
    monkeypatch.delenv("RANK")


def test_without_a_gpu(recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"train\.mfu is set, and the run is not on a GPU"):
        trainworthy.train(recipe, "train.mfu=true", "train.device=cpu", output=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_gpu_that_nobody_knows(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_h100(monkeypatch)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "NVIDIA Nothing")
    with pytest.raises(TrainworthyError, match="NVIDIA Nothing"):
        utilisation(TrainOptions(mfu=True), [str(recipe)])


def test_a_recipe_that_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_h100(monkeypatch)
    path = tmp_path / "bad.py"
    path.write_text(RECIPE.replace("model(batch[0])", "model(batch[3])"))
    with pytest.raises(UsageError, match="saw no whole step"):
        utilisation(TrainOptions(mfu=True), [str(path)])


def test_the_rehearsal_counts_none_of_its_own() -> None:
    assert rehearsed_words(["r.py", "lr=1", "train.mfu=true"], "c.yaml") == [
        "train", "r.py", "lr=1", "train.mfu=true", "train.mfu=false", "--config", "c.yaml",
    ]  # fmt: skip
