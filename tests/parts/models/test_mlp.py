"""The table's network: standardisation travels with the weights; wrong columns are said."""

from __future__ import annotations

import pytest
import torch

from trainworthy.errors import ShapeError
from trainworthy.parts.models.mlp import TabularMLP


def test_standardising_is_in_the_checkpoint() -> None:
    data = torch.tensor([[1.0, 5.0], [3.0, 5.0]])
    model = TabularMLP(numeric=2, mean=data.mean(0), std=data.std(0))
    state = model.state_dict()
    assert state["mean"].tolist() == [2.0, 5.0]
    assert state["std"].tolist() == [pytest.approx(2**0.5), 1.0]  # a column without variation
    plain = TabularMLP(numeric=2)
    plain.load_state_dict({**state, "mean": torch.zeros(2), "std": torch.ones(2)})
    torch.testing.assert_close(model(data), plain((data - state["mean"]) / state["std"]))


def test_each_category_has_its_own_table() -> None:
    model = TabularMLP(numeric=0, categories=(3, 5), hidden=(4,))
    tables = [parameter for name, parameter in model.named_parameters() if name.startswith("embeddings")]
    assert [tuple(table.shape) for table in tables] == [(3, 2), (5, 3)]
    codes = torch.tensor([[2, 4]])
    out = model(torch.zeros(1, 0), codes)
    with torch.no_grad():
        tables[1][4] += 1
    assert not torch.equal(model(torch.zeros(1, 0), codes), out)


def test_wrong_columns_are_said() -> None:
    with pytest.raises(ShapeError, match="0 columns of categories, but the model has 1 embeddings"):
        TabularMLP(numeric=2, categories=(3,))(torch.zeros(1, 2))
    with pytest.raises(ShapeError, match=r"std has shape \(3,\); it must be \(2,\)"):
        TabularMLP(numeric=2, std=torch.ones(3))
