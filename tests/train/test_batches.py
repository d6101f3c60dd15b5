from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from trainworthy.errors import TrainError
from trainworthy.train.batches import counter, moved, samples_of, tensors_of

Pair = namedtuple("Pair", "x y")


@dataclass
class Graph:
    nodes: torch.Tensor
    name: str


ONES = torch.ones(3, 2)
CONTAINERS = [
    (ONES, ["batch"]),
    ((ONES, 1), ["batch[0]"]),
    ([1, {"x": ONES}], ["batch[1]['x']"]),
    (Pair(ONES, ONES), ["batch[0]", "batch[1]"]),
    (Graph(ONES, "g"), ["batch.nodes"]),
]


@pytest.mark.parametrize(("batch", "paths"), CONTAINERS)
def test_finds_tensors_and_moves_them(batch: Any, paths: list[str]) -> None:
    assert [path for path, _ in tensors_of(batch)] == paths
    there = moved(batch, torch.device("meta"))
    assert type(there) is type(batch)
    assert all(each.is_meta for _, each in tensors_of(there))
    assert [path for path, _ in tensors_of(there)] == paths
    assert samples_of(batch) == 3


def test_scalars_are_no_samples() -> None:
    assert samples_of([torch.tensor(1.0), torch.zeros(4)]) == 4
    with pytest.raises(TrainError, match=r"type dict holds no tensor.*\n.*\n.*count="):
        samples_of({"x": torch.tensor(1.0)})


def test_counts_as_the_recipe_says() -> None:
    assert counter(None)(torch.zeros(5, 2)) == 5
    assert counter(lambda batch: (batch > 0).sum())(torch.tensor([1.0, -1.0, 2.0])) == 2.0
