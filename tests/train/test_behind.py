"""The device refuses a step that is not finite, and the host hears of it a step later."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from trainworthy.errors import TrainError
from trainworthy.train import phase as phases
from trainworthy.train.behind import Behind, can_refuse
from trainworthy.train.engine import train
from trainworthy.train.finite import NotFiniteError
from trainworthy.train.phase import Work
from trainworthy.train.recipe import Loss, Phase, Recipe, TrainOptions

CPU = torch.device("cpu")
FUSED: list[Any] = [
    lambda ps: torch.optim.AdamW(ps, lr=0.1, fused=True),
    lambda ps: torch.optim.SGD(ps, lr=0.1, momentum=0.9, fused=True),
    lambda ps: torch.optim.Adagrad(ps, lr=0.1, fused=True),
]


@pytest.fixture
def lagging(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a CPU judged like a GPU: its fused optimizers take the same flag."""
    monkeypatch.setattr(phases, "_works_behind", lambda _precision, _spread: True)


@pytest.mark.parametrize("make", FUSED)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_refused_step_changes_neither_weights_nor_state(make: Any, bad: float) -> None:
    weight = nn.Parameter(torch.ones(3))
    optimizer = make([weight])
    behind = Behind(optimizer, CPU)
    for loss, norm in ((1.0, 2.0), (bad, 2.0), (1.0, bad)):
        before = weight.detach().clone()
        state = {k: torch.as_tensor(v).clone() for k, v in optimizer.state[weight].items()}
        weight.grad = torch.full((3,), norm)
        behind.note(Work(7, (), [1.0], 1.0), torch.tensor(loss), torch.tensor(norm))
        optimizer.step()
        if math.isfinite(loss + norm):
            behind.settle()
            assert not torch.equal(weight, before)
            continue
        with pytest.raises(NotFiniteError) as caught:
            behind.settle()
        assert caught.value.work.step == 7
        assert torch.equal(weight, before)
        assert all(torch.equal(torch.as_tensor(v), state[k]) for k, v in optimizer.state[weight].items())
        behind.settle()  # nothing is left to judge
    behind.close()
    assert not hasattr(optimizer, "found_inf")


def test_which_optimizers_can_refuse() -> None:
    weights = [nn.Parameter(torch.ones(3))]
    assert all(can_refuse(make(weights)) for make in FUSED)
    assert not can_refuse(torch.optim.AdamW(weights))
    assert not can_refuse(torch.optim.LBFGS(weights))
    groups: list[dict[str, Any]] = [{"params": weights, "fused": True}, {"params": [nn.Parameter(torch.ones(1))]}]
    mixed = torch.optim.SGD(groups)
    assert not can_refuse(mixed)


class Rows(Dataset[Any]):
    """Sample ``bad`` holds a NaN."""

    def __init__(self, bad: int | None) -> None:
        self.bad = bad

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> Any:
        x = torch.full((4,), math.nan if index == self.bad else float(index % 5))
        return x, x[:1] * 0.5


def recipe(bad: int | None, **options: Any) -> Recipe:
    def loss(model: nn.Module, batch: Any) -> Loss:
        return Loss(total=(model(batch[0]) - batch[1]).square().sum(), weight=len(batch[0]))

    phase = Phase(
        loss=loss,
        optimizer=lambda named: torch.optim.AdamW([p for _, p in named], lr=0.01, fused=True),
        clip_norm=0.5,
    )
    return Recipe(
        model=lambda: nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1)),
        phases=(phase,),
        train_data=Rows(bad),
        options=TrainOptions(**{"epochs": 2, "batch_size": 4, "device": "cpu", "tensorboard": False, **options}),
    )


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_run_ends_with_the_step_that_was_bad_though_another_was_queued(lagging: None, tmp_path: Path) -> None:
    with pytest.raises(TrainError) as caught:
        train(recipe(9, log_every=100, checkpoint_every=0), folder=tmp_path, quiet=True)
    told = caught.value
    assert "The loss is nan" in str(told)
    assert "9" in str(told.where).split("samples")[1]
    assert "the data: batch[0] of shape (4, 4) holds 4 NaN of 16 numbers" in str(told.fix)
    assert not list((tmp_path / "checkpoints").glob("step-*"))


def test_a_bad_step_is_never_saved(lagging: None, tmp_path: Path) -> None:
    options: dict[str, Any] = {"log_every": 100, "checkpoint_every": 1, "keep_checkpoints": 100}
    with pytest.raises(TrainError):
        train(recipe(9, **options), folder=tmp_path / "behind", quiet=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phases, "_works_behind", lambda _precision, _spread: False)
        with pytest.raises(TrainError):
            train(recipe(9, **options), folder=tmp_path / "direct", quiet=True)
    saved = [sorted(p.name for p in (tmp_path / name / "checkpoints").iterdir()) for name in ("behind", "direct")]
    assert saved[0] == saved[1] != []


def test_it_trains_what_a_run_trains_that_reads_every_step(lagging: None, tmp_path: Path) -> None:
    behind = train(recipe(None, log_every=3), folder=tmp_path / "behind", quiet=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phases, "_works_behind", lambda _precision, _spread: False)
        direct = train(recipe(None, log_every=3), folder=tmp_path / "direct", quiet=True)
    assert behind.step == direct.step == 12
    mine, theirs = rows_of(behind.folder), rows_of(direct.folder)
    assert len(mine) == len(theirs) > 3
    for one, other in zip(mine, theirs, strict=True):
        for key in {"loss", "grad_norm", "lr"} & one.keys():
            assert one[key] == pytest.approx(other[key], rel=1e-5)
