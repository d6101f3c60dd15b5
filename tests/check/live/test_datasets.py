"""Data sets that change when they are read: the look leaves them, and everything else, as they were."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from trainworthy.check.finding import Place
from trainworthy.check.live import contents, datasets
from trainworthy.check.live.datasets import DatasetWatch
from trainworthy.check.live.watch import Watch
from trainworthy.tape.source import SourceFinder

HERE = Place("program.py", 1)


class Halved(Dataset[torch.Tensor]):
    def __init__(self) -> None:
        self.rows = torch.ones(6, 2)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> torch.Tensor:
        random.random()
        return self.rows[index].div_(2)


class Hanging(Halved):
    def __getitem__(self, index: int) -> torch.Tensor:
        time.sleep(60)
        return self.rows[index]


class Failing(Halved):
    def __getitem__(self, index: int) -> torch.Tensor:
        raise KeyError(index)


def looked_at(dataset: Dataset[torch.Tensor]) -> DatasetWatch:
    watch = DatasetWatch(Watch(SourceFinder((str(Path(__file__).parent),)), HERE))
    watch.begins(iter(DataLoader(dataset, batch_size=2)), HERE)
    return watch


def test_change_is_told_and_the_users_data_stay() -> None:
    dataset, state = Halved(), random.getstate()
    watch = looked_at(dataset)
    (found,) = watch.watch.facts.changed_samples
    assert (found.by, found.where, found.dataset) == ("__getitem__", "the sample", "Halved")
    assert found.stored == ".rows"
    assert torch.equal(dataset.rows, torch.ones(6, 2))
    assert random.getstate() == state


def test_each_data_set_is_looked_at_once() -> None:
    dataset = Halved()
    watch = looked_at(dataset)
    watch.begins(iter(DataLoader(dataset)), HERE)
    assert len(watch.watch.facts.changed_samples) == 1


def test_one_that_hangs_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "_LIMIT_S", 0.2)
    watch = looked_at(Hanging())
    assert watch.watch.facts.changed_samples == []
    assert watch.watch.facts.left_out == []


def test_one_that_fails_is_left() -> None:
    watch = looked_at(Failing())
    assert watch.watch.facts.changed_samples == []
    assert watch.watch.facts.left_out == []


def test_large_ones_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "_MAX_BYTES", 8)
    assert looked_at(Halved()).watch.facts.changed_samples == []


class Cached(Dataset[list[int]]):
    """Fills a table when a sample is first taken, and gives lists that a collate function makes longer."""

    def __init__(self) -> None:
        self.table = torch.zeros(6, 2)
        self.rows = [[1] * (n + 1) for n in range(6)]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> list[int]:
        self.table[index] = index + 1.0
        return self.rows[index]


def padded(rows: list[list[int]]) -> torch.Tensor:
    longest = max(map(len, rows))
    for row in rows:
        row.extend([0] * (longest - len(row)))
    return torch.tensor(rows)


def test_a_cache_does_not_hide_what_a_collate_function_changes() -> None:
    watch = DatasetWatch(Watch(SourceFinder((str(Path(__file__).parent),)), HERE))
    watch.begins(iter(DataLoader(Cached(), batch_size=2, collate_fn=padded)), HERE)
    (found,) = watch.watch.facts.changed_samples
    assert found.by == "collate"
    assert found.place.line == padded.__code__.co_firstlineno + 3
