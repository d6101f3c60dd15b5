"""``trainworthy.inspect`` lists modules and leaves everything as it found it."""

from __future__ import annotations

import random

import pytest
import torch
from torch import nn

import trainworthy
from trainworthy.errors import UsageError


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 8)
        self.blocks = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
        self.head = nn.Linear(8, 50, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        x = self.embedding(ids)
        for block in self.blocks:
            x = block(x) * scale
        return self.head(x)  # type: ignore[no-any-return]


def test_totals_count_a_tied_parameter_once() -> None:
    model = Tied()
    table = trainworthy.inspect(model, input_size=(4, 10), dtypes=[torch.long])
    assert table.total_params == 50 * 8 + 3 * (8 * 8 + 8)
    assert table.total_mult_adds == 40 * (3 * 64 + 8 * 50)
    assert "[4, 10, 50]" in str(table)
    assert "Linear: blocks[0..2] x3" in str(table)


def test_everything_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    model[0].eval()
    tensors = [*model.parameters(), *model.buffers()]
    values = [t.clone() for t in tensors]
    state, python, modes = torch.get_rng_state(), random.getstate(), [m.training for m in model.modules()]
    trainworthy.inspect(model, input_size=(3, 4), mode="train")
    trainworthy.inspect(model, input_data=torch.randn(3, 4, generator=torch.Generator()), mode="eval")
    after = [*model.parameters(), *model.buffers()]
    assert all(a is b for a, b in zip(tensors, after, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(values, after, strict=True))
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(state, torch.get_rng_state())
    assert python == random.getstate()
    assert modes == [m.training for m in model.modules()]


def test_it_is_put_back_when_the_model_raises() -> None:
    model = nn.Linear(4, 4)
    weight = model.weight
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        trainworthy.inspect(model, input_size=(3, 5))
    assert model.weight is weight
    assert model(torch.ones(1, 4)).shape == (1, 4)


def test_columns_inputs_and_further_arguments() -> None:
    conv = nn.Conv2d(3, 8, (3, 5))
    table = trainworthy.inspect(
        conv, input_size=(3, 32, 32), batch_dim=0,
        col_names=("input_size", "kernel_size", "trainable", "params_percent", "activation_bytes", "flops_backward"),
    )  # fmt: skip
    text = str(table)
    assert "[1, 3, 32, 32]" in text
    assert "[3, 5]" in text
    assert "100.00%" in text
    ids = torch.zeros(2, 3, dtype=torch.long)
    assert "[2, 3, 50]" in str(trainworthy.inspect(Tied(), input_data={"ids": ids}, scale=2.0))
    assert "[2, 3, 50]" in str(trainworthy.inspect(Tied(), input_data=[ids, 0.5]))


def test_wrong_use_says_what_to_write() -> None:
    model = nn.Linear(4, 4)
    for wrong in (
        {}, {"input_size": (1, 4), "input_data": torch.ones(1, 4)}, {"input_size": 4},
        {"input_size": (1, 4), "col_names": ("no_such",)}, {"input_size": (1, 4), "mode": "test"},
        {"input_size": [(1, 4), (1, 4)], "dtypes": [torch.float32]},
    ):  # fmt: skip
        with pytest.raises(UsageError):
            trainworthy.inspect(model, **wrong)


def test_a_model_larger_than_this_machine_costs_nothing() -> None:
    with torch.device("meta"):
        model = nn.Sequential(*[nn.Linear(50_000, 50_000) for _ in range(20)])
    assert trainworthy.inspect(model, input_size=(1, 50_000)).total_params == 20 * (50_000**2 + 50_000)
