from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from train import programs
from trainworthy.errors import TrainError, UsageError
from trainworthy.train import setup
from trainworthy.train.layout import Layout, find_layout
from trainworthy.train.ranks import Ranks


def test_pauses_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    clock = setup.Clock()
    clock.start(10, 320)
    clock.items += 640
    now[0] += 6.0  # of which an evaluation took 2
    clock.pause(2.0)
    speed = setup.Speed(flops_per_step=1e9, peak_flops_per_s=1e10)
    assert clock.rates(14, 448, speed, devices=2) == {
        "step_s": 1.0, "samples_per_s": 32.0, "items_per_s": 160.0, "flops_per_s": 1e9, "mfu": 0.05,
    }  # fmt: skip
    now[0] += 1.0
    assert clock.rates(15, 480, setup.Speed(), devices=2) == {"step_s": 1.0, "samples_per_s": 32.0, "items_per_s": 0.0}


def test_steps_from_epochs() -> None:
    recipe = programs.words_recipe(epochs=3, batch_size=7)
    data = setup.loader(recipe, Layout(), torch.device("cpu"), Ranks())
    assert setup.steps(recipe.options, data) == 3 * 4  # 24 samples: 7, 7, 7, 3
    assert setup.steps(replace(recipe.options, steps=5), data) == 5


def test_weights_of_another_model_are_named() -> None:
    with pytest.raises(TrainError, match=r"missing: bias\. *"):
        setup.load_model(nn.Linear(2, 2), {"weight": torch.zeros(2, 2)})
    with pytest.raises(TrainError, match=r"unknown: extra; of another shape: bias"):
        setup.load_model(
            nn.Linear(2, 2), {"weight": torch.zeros(2, 2), "bias": torch.zeros(3), "extra": torch.zeros(1)}
        )


def test_parameters_of_no_phase() -> None:
    model = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1), nn.Linear(1, 1))
    words = setup.without_phase(model, model[0].parameters())
    assert words is not None
    assert words.startswith("no phase trains 1.weight, 1.bias, 2.weight and 1 more")
    assert setup.without_phase(model, model.parameters()) is None


def test_ranks_that_cannot_be_divided() -> None:
    with pytest.raises(UsageError, match=r"1 ranks cannot be divided into groups of 2 \(tensor parallel\) x 1"):
        find_layout(device=torch.device("cpu"), tensor=2)


def test_places() -> None:
    layout = Layout(rank=5, world=8, data=2, tensor=2, pipeline=2)
    assert (layout.data_rank, layout.first) == (1, False)
