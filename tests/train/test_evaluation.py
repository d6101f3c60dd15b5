from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import Dataset

from trainworthy.train.batches import samples_of
from trainworthy.train.evaluation import Evaluation, evaluating, rank_parts
from trainworthy.train.layout import Layout
from trainworthy.train.precision import precision
from trainworthy.train.randomness import Domain, StepSeeder
from trainworthy.train.recipe import Loss, Mean


@given(size=st.integers(1, 40), batch=st.integers(1, 9), ranks=st.integers(1, 5))
def test_each_sample_once_and_as_many_batches_on_each_rank(size: int, batch: int, ranks: int) -> None:
    parts = [list(rank_parts(size, batch, rank, ranks)) for rank in range(ranks)]
    assert sorted(i for own in parts for part in own if not part.filler for i in part.indices) == list(range(size))
    assert len({len(own) for own in parts}) == 1
    assert all(0 < len(part.indices) <= batch for own in parts for part in own)


class Numbers(Dataset[Any]):
    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> Any:
        return torch.tensor([float(index)]) + 0.1 * torch.rand(1)


def evaluation(**options: Any) -> Evaluation:
    def loss(model: nn.Module, batch: Any) -> Loss:
        assert not torch.is_grad_enabled()
        total = model(batch).sum()
        return Loss(total=total, metrics={"twice": Mean(total=2 * total, weight=len(batch))})

    return Evaluation(
        Numbers(),
        loss,
        collate=None,
        count=samples_of,
        batch_size=3,
        layout=Layout(),
        precision=precision("fp32", torch.device("cpu")),
        seeder=StepSeeder(0, domain=Domain.EVALUATION),
        seed=0,
        **options,
    )


def test_means_over_an_uneven_last_batch() -> None:
    model = nn.Identity()
    found = evaluation().run(model, lambda: False)
    assert found is not None
    assert found["loss"] == pytest.approx(3.0, abs=0.1)
    assert found["twice"] == pytest.approx(2 * found["loss"])
    assert evaluation().run(model, lambda: False) == found  # the data draws the same numbers each time


@pytest.mark.parametrize("workers", [0, 1])
def test_workers_change_nothing(workers: int) -> None:
    assert evaluation(workers=workers).run(nn.Identity(), lambda: False) == evaluation().run(
        nn.Identity(), lambda: False
    )


def test_stops_when_asked() -> None:
    assert evaluation().run(nn.Identity(), lambda: True) is None


def test_every_module_gets_its_own_mode_back() -> None:
    model = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2))
    model[1].eval()
    with evaluating(model):
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model.modules()] == [True, True, False]
