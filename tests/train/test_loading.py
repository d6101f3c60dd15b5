"""No sample is lost or taken twice, and neither ranks nor workers nor micro-batches change what a step is made of."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import Dataset, Subset, TensorDataset, default_collate

from trainworthy.errors import TrainError, UsageError
from trainworthy.train.loading import Fetch, MapLoader, MicroBatch, Plan, StepPlan, share

pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded"),
]


class Noisy(Dataset[Any]):
    """Draws from all three generators that a user's code draws from."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Any:
        return index, torch.rand(()), random.random(), np.random.rand()


def noisy_collate(items: list[Any]) -> Any:
    return default_collate([(*item, torch.rand(())) for item in items])


def steps_of_all(size: int, batch: int, micro: int | None, ranks: int, end: int) -> list[list[StepPlan]]:
    plans = [Plan(size=size, batch_size=batch, micro_batch_size=micro, rank=rank, ranks=ranks) for rank in range(ranks)]
    return [list(steps) for steps in zip(*(plan.steps(0, 0, end) for plan in plans), strict=True)]


@given(
    size=st.integers(1, 40),
    batch=st.integers(1, 12),
    micro=st.none() | st.integers(1, 5),
    ranks=st.integers(1, 5),
)
def test_an_epoch_takes_every_sample_once(size: int, batch: int, micro: int | None, ranks: int) -> None:
    per_epoch = -(-size // batch)
    steps = steps_of_all(size, batch, micro, ranks, 2 * per_epoch)
    for epoch in (0, 1):
        mine = [plan for step in steps for plan in step if plan.epoch == epoch]
        taken = [index for plan in mine for part in plan.parts if not part.filler for index in part.indices]
        assert sorted(taken) == list(range(size))
        assert [step[0].ends_epoch for step in steps if step[0].epoch == epoch] == [False] * (per_epoch - 1) + [True]
    for step in steps:
        counts = [sum(len(part.indices) for part in plan.parts if not part.filler) for plan in step]
        assert max(counts) - min(counts) <= 1
        assert sum(counts) == step[0].samples
        assert len({len(plan.parts) for plan in step}) == 1, "collectives need the same number on each rank"
        assert all(part.indices for plan in step for part in plan.parts)
        assert all(len(part.indices) <= (micro or batch) for plan in step for part in plan.parts)


@given(size=st.integers(1, 40), batch=st.integers(1, 12), micro=st.none() | st.integers(1, 5), ranks=st.integers(1, 5))
def test_a_step_is_made_of_the_same_samples_however_it_is_split(
    size: int, batch: int, micro: int | None, ranks: int
) -> None:
    whole = steps_of_all(size, batch, None, 1, 7)
    split = steps_of_all(size, batch, micro, ranks, 7)
    for (one,), many in zip(whole, split, strict=True):
        (part,) = one.parts
        real = [each for plan in many for each in plan.parts if not each.filler]
        assert [index for each in real for index in each.indices] == part.indices
        assert all(part.indices[each.first - part.first] == each.indices[0] for each in real)


@given(size=st.integers(1, 30), batch=st.integers(1, 12), after=st.integers(0, 9))
def test_going_on_from_a_position_is_as_if_never_interrupted(size: int, batch: int, after: int) -> None:
    plan = Plan(size=size, batch_size=batch, micro_batch_size=2)
    whole = list(plan.steps(0, 0, 10))
    sample = whole[after - 1].sample + whole[after - 1].samples if after else 0
    assert list(plan.steps(after, sample, 10)) == whole[after:]


def test_without_shuffling_the_order_is_the_datasets() -> None:
    steps = list(Plan(size=5, batch_size=2, shuffle=False).steps(0, 0, 4))
    assert [step.parts[0].indices for step in steps] == [[0, 1], [2, 3], [4], [0, 1]]


@given(st.integers(0, 50), st.integers(1, 9))
def test_shares_are_even_and_complete(samples: int, ranks: int) -> None:
    shares = [share(samples, rank, ranks) for rank in range(ranks)]
    assert [sample for each in shares for sample in each] == list(range(samples))
    assert {len(each) for each in shares} <= {samples // ranks, -(-samples // ranks)}


def test_nonsense_is_refused() -> None:
    with pytest.raises(TrainError, match="has no samples"):
        Plan(size=0, batch_size=1)
    with pytest.raises(UsageError, match=r"batch_size is 0; it must be at least 1"):
        Plan(size=1, batch_size=0)
    with pytest.raises(UsageError, match=r"micro_batch_size is -1"):
        Plan(size=1, batch_size=1, micro_batch_size=-1)


def rows(loader: MapLoader, step: int, sample: int, end: int) -> list[Any]:
    """All numbers of all samples, with the number that the collation drew last."""
    taken = []
    for data in loader.steps(step, sample, end):
        real = data.micro_batches[: len(data.micro_batches) - data.fillers]
        taken.append([row for batch in real for row in zip(*(column.tolist() for column in batch), strict=True)])
    return taken


def test_random_numbers_of_a_sample_follow_from_its_place_alone() -> None:
    def steps(workers: int = 0, ranks: int = 1, micro: int | None = None, collate: Any = None, start: int = 0) -> Any:
        shares = []
        for rank in range(ranks):
            plan = Plan(size=11, batch_size=4, micro_batch_size=micro, rank=rank, ranks=ranks, seed=5)
            loader = MapLoader(Noisy(11), plan, workers=workers, collate=collate)
            shares.append(rows(loader, start, start * 4, 3 if start else 5))
        return [[row for each in step for row in each] for step in zip(*shares, strict=True)]

    alone = steps()
    assert len({number for step in alone for row in step for number in row[1:]}) == 3 * 19, "each draw is another"
    assert steps(ranks=3) == alone
    assert steps(micro=3) == alone
    assert steps(ranks=2, micro=1) == alone
    assert steps(workers=2) == alone
    assert steps(start=1) == alone[1:3]
    collated = steps(collate=noisy_collate)
    assert [[row[:4] for row in step] for step in collated] == alone
    assert steps(collate=noisy_collate, workers=2) == collated


def test_loading_in_workers_draws_nothing_from_the_global_generator() -> None:
    torch.manual_seed(3)
    expected = torch.rand(())
    torch.manual_seed(3)
    loader = MapLoader(Noisy(4), Plan(size=4, batch_size=2), workers=1)
    assert len(rows(loader, 0, 0, 3)) == 3
    assert torch.equal(torch.rand(()), expected)


def test_rows_of_a_tensor_dataset_are_what_collation_would_stack() -> None:
    data = TensorDataset(torch.arange(12.0).view(6, 2), torch.arange(6))
    part = MicroBatch(0, 0, [4, 1])
    for dataset in (data, Subset(data, [5, 3, 2, 1, 0])):
        found = Fetch(dataset, None, 0)[part]
        expected = default_collate([dataset[index] for index in part.indices])
        assert type(found) is type(expected)
        assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


class Owned(Dataset[Any]):
    """Says which process loads it."""

    def __len__(self) -> int:
        return 1000

    def __getitem__(self, index: int) -> int:
        return os.getpid()


def test_signals_do_not_end_workers_but_the_end_of_the_loader_does() -> None:
    loader = MapLoader(Owned(), Plan(size=1000, batch_size=1), workers=1)
    steps = loader.steps(0, 0, 1000)
    worker = int(next(steps).micro_batches[0])
    assert worker != os.getpid()
    for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGTERM):
        os.kill(worker, number)
    for _ in range(50):  # more than were fetched ahead
        assert int(next(steps).micro_batches[0]) == worker
    loader.close()
    del steps
    for _ in range(500):
        if not Path(f"/proc/{worker}").exists():
            return
        time.sleep(0.02)
    pytest.fail("the worker is still there")
