"""A stream goes on where it was, with workers and without, and every rank gets the same number of micro-batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import IterableDataset, get_worker_info

from trainworthy.errors import TrainError
from trainworthy.train.loading import StepData
from trainworthy.train.streaming import Stream, StreamLoader

# Fewer cores than workers, or forking beside torch's threads (Python 3.12): neither is what is tested here.
pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded"),
]


class Numbers(IterableDataset[Any]):
    """0 to n - 1, each with noise, shared among workers; knows nothing of positions."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __iter__(self) -> Iterator[Any]:
        info = get_worker_info()
        first, step = (0, 1) if info is None else (info.id, info.num_workers)
        for number in range(first, self.size, step):
            yield number, torch.rand(())


class Counting(Numbers):
    """The same, and keeps its position; reading again from the start would be noticed."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.place = self.begin = 0

    def __iter__(self) -> Iterator[Any]:
        info = get_worker_info()
        first, step = (0, 1) if info is None else (info.id, info.num_workers)
        numbers = range(first, self.size, step)
        self.place, self.begin = self.begin, 0
        while self.place < len(numbers):
            self.place += 1
            yield numbers[self.place - 1], torch.rand(())

    def state_dict(self) -> dict[str, int]:
        return {"place": self.place}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.begin = state["place"]


def loaded(loader: StreamLoader, step: int = 0, sample: int = 0, end: int = 9) -> list[tuple[Any, ...]]:
    return [facts(data) for data in loader.steps(step, sample, end)]


def facts(data: StepData) -> tuple[Any, ...]:
    batches = [[each.tolist() for each in batch] for batch in data.micro_batches]
    return data.step, data.epoch, data.samples, data.next_sample, data.ends_epoch, batches, data.fillers


@pytest.mark.parametrize("kind", [Numbers, Counting])
@pytest.mark.parametrize("workers", [0, 2])
def test_going_on_from_any_step_is_as_if_never_interrupted(kind: type[Numbers], workers: int) -> None:
    stream = Stream(batch_size=4, micro_batch_size=2, seed=3)
    whole = StreamLoader(kind(11), stream, workers=workers)
    states, steps = [], []
    for data in whole.steps(0, 0, 7):
        steps.append(facts(data))
        states.append(whole.state_dict())
    assert sum(step[2] for step in steps if step[1] == 0) == 11
    assert [step[4] for step in steps] == [False, False, True, False, False, True, False]
    assert steps[0][5] != steps[3][5], "the noise of another epoch is another"
    for after in (0, 1, 2, 4) if workers == 0 else (0, 1):
        again = StreamLoader(kind(11), stream, workers=workers)
        again.load_state_dict(states[after])
        assert loaded(again, after + 1, steps[after][3], 7) == steps[after + 1 :]


def test_each_sample_comes_once_an_epoch_whatever_the_workers() -> None:
    for workers in (0, 2):
        steps = loaded(StreamLoader(Numbers(10), Stream(batch_size=3, micro_batch_size=1), workers=workers), end=4)
        numbers = [batch[0][0] for step in steps for batch in step[5][: len(step[5]) - step[6]]]
        assert sorted(numbers) == list(range(10))
        assert steps[-1][4]


def test_a_short_step_is_filled_up() -> None:
    *_, last = loaded(StreamLoader(Numbers(5), Stream(batch_size=4, micro_batch_size=1)), end=2)
    assert last[2] == 1
    assert last[6] == 3
    assert [batch[0] for batch in last[5]] == [[4]] * 4


def test_a_spent_iterator_is_an_error_not_an_endless_loop() -> None:
    class Once(IterableDataset[Any]):
        def __init__(self) -> None:
            self.items = iter([torch.zeros(1)] * 3)

        def __iter__(self) -> Iterator[Any]:
            return self.items

    with pytest.raises(TrainError, match="no samples in epoch 1"):
        loaded(StreamLoader(Once(), Stream(batch_size=2)))


def test_another_number_of_workers_is_refused() -> None:
    state = StreamLoader(Numbers(5), Stream(batch_size=2), workers=2).state_dict()
    with pytest.raises(TrainError, match="saved with 2 workers; now there are 0"):
        StreamLoader(Numbers(5), Stream(batch_size=2)).load_state_dict(state)
