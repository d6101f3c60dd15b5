from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from train import programs
from trainworthy.errors import TrainError, UsageError
from trainworthy.train.recipe import Loss, Phase, Recipe, TrainOptions
from trainworthy.train.tools import find_batch_size, learning_rate_range


def parabola(**options: Any) -> Recipe:
    """Return a recipe whose loss is 50 w^2: gradient descent converges below a rate of 2 / 100."""

    def loss(model: Any, batch: Any) -> Loss:
        return Loss(total=50 * model.weight.square().sum() * len(batch[0]))

    def model() -> nn.Module:
        made = nn.Linear(1, 1, bias=False)
        nn.init.ones_(made.weight)
        return made

    return Recipe(
        model=model,
        phases=(Phase(loss=loss, optimizer=lambda named: torch.optim.SGD([p for _, p in named], lr=0.5)),),
        train_data=TensorDataset(torch.zeros(8, 1)),
        options=TrainOptions(batch_size=4, **options),
    )


def test_finds_where_descent_is_steep_and_where_it_ends() -> None:
    found = learning_rate_range(parabola(), low=1e-5, high=10.0, steps=60)
    assert found.rates[0] == pytest.approx(1e-5)
    assert found.rates[1] / found.rates[0] == pytest.approx(found.rates[-1] / found.rates[-2])
    assert found.losses[0] == pytest.approx(50.0)
    assert found.steepest is not None
    assert 1e-3 < found.steepest < 0.02
    assert 5e-3 < found.lowest < 0.1  # the theory's 0.02, and what smoothing adds


def test_ends_where_the_loss_is_not_finite() -> None:
    found = learning_rate_range(parabola(), low=1e-3, high=1e9, steps=40)
    assert len(found.losses) < 40


def test_refuses_an_empty_range() -> None:
    with pytest.raises(UsageError, match=r"low is 1, high 0\.1"):
        learning_rate_range(parabola(), low=1.0, high=0.1)


class Hungry(programs.Net):
    """Runs out of memory beyond so many samples."""

    kind: type[Exception] = torch.OutOfMemoryError
    most = 5

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > self.most:
            raise self.kind("DefaultCPUAllocator: not enough memory: you tried to allocate 1 byte.")
        return super().forward(x)


@pytest.mark.parametrize("kind", [torch.OutOfMemoryError, RuntimeError])
def test_halves_until_it_fits(kind: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hungry, "kind", kind)
    assert find_batch_size(replace(programs.words_recipe(), model=Hungry), start=12) == 3


def test_another_error_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hungry, "kind", ValueError)
    with pytest.raises(ValueError, match="not enough memory"):
        find_batch_size(replace(programs.words_recipe(), model=Hungry), start=24)


def test_nothing_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hungry, "most", 0)
    with pytest.raises(TrainError, match="Not even one sample"):
        find_batch_size(replace(programs.words_recipe(), model=Hungry), start=4)
