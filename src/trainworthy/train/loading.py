"""Which samples each rank gets in each step, worked out from the position alone, and a loader that fetches them.

The samples of a run are numbered: epoch 0 has the numbers 0 to n - 1, epoch 1 has n to 2n - 1, and so on. A step takes
the next ``batch_size`` numbers, the last one of an epoch what is left of it; no sample is dropped or taken twice. Which
sample has a number follows from the seed (:func:`randomness.order`), so a checkpoint needs to hold only the number of
the next one, and neither the ranks nor the workers nor the size of micro-batches changes what a step is made of.

A step's samples are split among the ranks into consecutive parts whose sizes differ by at most one, and each part into
micro-batches. Every rank gets the same number of micro-batches, because gradients are exchanged in collectives that all
have to join: where a rank has one less, it gets a *filler*, the step's first samples again, to be given the weight 0.
"""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch.utils.data import DataLoader, Dataset, Sampler, Subset, TensorDataset, default_collate

from trainworthy.errors import TrainError, UsageError
from trainworthy.train.randomness import Domain, mix, order, set_host_generators

Batch = Any
Collate = Callable[[list[Any]], Batch]


class MicroBatch(NamedTuple):
    """The samples of one micro-batch of one rank.

    Attributes:
        epoch: From 0.
        first: Number of its first sample in the run.
        indices: Which samples of the dataset.
        filler: It is there only so that all ranks have the same number; its weight is 0.
    """

    epoch: int
    first: int
    indices: list[int]
    filler: bool = False


class StepPlan(NamedTuple):
    """The samples of one optimizer step on one rank."""

    step: int
    epoch: int
    sample: int
    samples: int
    ends_epoch: bool
    parts: list[MicroBatch]


class StepData(NamedTuple):
    """What one rank computes in one optimizer step.

    Attributes:
        step: Number of the step, from 0.
        epoch: Number of the epoch, from 0.
        samples: Samples of this step over all ranks; None: unknown (a stream).
        next_sample: Where the next step begins: what a checkpoint taken after this step holds.
        ends_epoch: It is the last step of its epoch.
        micro_batches: Those of this rank, as many as every other rank has.
        indices: The dataset's indices in each; empty for a stream.
        fillers: The last so many of them have to be given the weight 0.
    """

    step: int
    epoch: int
    samples: int | None
    next_sample: int
    ends_epoch: bool
    micro_batches: list[Batch]
    indices: list[list[int]]
    fillers: int


def share(samples: int, rank: int, ranks: int) -> range:
    """Return which of a step's samples a rank takes: consecutive ones, at most one more than any other rank.

    >>> [list(share(5, rank, 3)) for rank in range(3)]
    [[0], [1, 2], [3, 4]]
    """
    return range(samples * rank // ranks, samples * (rank + 1) // ranks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that decides which samples a rank sees when.

    Attributes:
        size: Samples in the dataset.
        batch_size: Samples of a step over all ranks and micro-batches.
        micro_batch_size: Samples that a rank takes at a time; None: all of its share.
        seed: The run's seed.
        rank: This rank.
        ranks: Number of ranks that share a step's samples.
        shuffle: Take the samples in random order, another one each epoch.

    Raises:
        TrainError: The dataset is empty.
        UsageError: A number is not positive.
    """

    size: int
    batch_size: int
    micro_batch_size: int | None = None
    seed: int = 0
    rank: int = 0
    ranks: int = 1
    shuffle: bool = True

    def __post_init__(self) -> None:
        if self.size < 1:
            raise TrainError("The training data has no samples.", where="Recipe.train_data")
        for name in ("batch_size", "micro_batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} is {value}; it must be at least 1.", where=f"train.{name}")

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which an epoch is done; the last may be smaller."""
        return -(-self.size // self.batch_size)

    def steps(self, step: int, sample: int, end_step: int) -> Iterator[StepPlan]:
        """Yield the steps ``step`` to ``end_step`` - 1, of which the first begins with the sample number ``sample``."""
        indices: torch.Tensor | None = None
        while step < end_step:
            epoch, offset = divmod(sample, self.size)
            if indices is None or offset == 0:
                indices = order(self.seed, epoch, self.size) if self.shuffle else torch.arange(self.size)
            samples = min(self.batch_size, self.size - offset)
            parts = list(self._parts(epoch, sample, indices[offset : offset + samples].tolist()))
            yield StepPlan(step, epoch, sample, samples, offset + samples == self.size, parts)
            sample, step = sample + samples, step + 1

    def _parts(self, epoch: int, sample: int, indices: list[int]) -> Iterator[MicroBatch]:
        size = self.micro_batch_size or -(-self.batch_size // self.ranks)
        mine = share(len(indices), self.rank, self.ranks)
        largest = -(-len(indices) // self.ranks)
        needed = -(-largest // size)
        for start in range(mine.start, mine.stop, size):
            needed -= 1
            yield MicroBatch(epoch, sample + start, indices[start : min(start + size, mine.stop)])
        for _ in range(needed):
            yield MicroBatch(epoch, sample, indices[:size], True)


class Fetch(Dataset[Batch]):
    """Loads micro-batches, each sample and each collation with random numbers of its own.

    It runs where the samples are loaded: in a worker, or in the training process where there are no workers.

    Args:
        dataset: Map-style.
        collate: Samples -> batch; None: torch's default.
        seed: The run's seed.
    """

    def __init__(self, dataset: Dataset[Any], collate: Collate | None, seed: int) -> None:
        self._dataset = dataset
        self._collate = collate or default_collate
        self._item_key = mix(seed, Domain.ITEM)
        self._collate_key = mix(seed, Domain.COLLATE)
        self._rows = _rows(dataset) if collate is None else None

    def __getitem__(self, part: MicroBatch) -> Batch:
        """Return the micro-batch, collated."""
        if self._rows is not None:
            tensors, indices = self._rows
            chosen = torch.tensor(part.indices)
            if indices is not None:
                chosen = indices[chosen]
            return [rows[chosen] for rows in tensors]
        epoch_key, dataset = mix(self._item_key, part.epoch), self._dataset
        items = []
        for index in part.indices:
            set_host_generators(mix(epoch_key, index))
            items.append(dataset[index])
        set_host_generators(mix(self._collate_key, part.first))
        return self._collate(items)


def _rows(dataset: Dataset[Any]) -> tuple[tuple[torch.Tensor, ...], torch.Tensor | None] | None:
    """Return the tensors of a TensorDataset, or of a subset of one, and the subset's indices.

    These classes draw nothing, so their items need no seeds, and their rows together are what collation would stack.
    """
    if type(dataset) is TensorDataset:
        return dataset.tensors, None
    if type(dataset) is Subset and type(dataset.dataset) is TensorDataset:
        return dataset.dataset.tensors, torch.as_tensor(dataset.indices)
    return None


class _Parts(Sampler[MicroBatch]):
    """The micro-batches of all steps to come; iterating draws no random numbers."""

    def __init__(self, steps: Iterator[StepPlan]) -> None:
        self._steps = steps

    def __iter__(self) -> Iterator[MicroBatch]:
        for step in self._steps:
            yield from step.parts


def as_it_is(batch: Batch) -> Batch:
    """Return what is collated already (a lambda could not be sent to workers that are not forked)."""
    return batch


class Closing:
    """Lets loader workers outlive the signals of a scheduler, and still end with the training process.

    A scheduler (or Ctrl-C in a terminal) signals every process of a run. If that ended the workers, the training
    process could not finish its step and save.
    """

    def __init__(self) -> None:
        self._parent = os.getpid()
        self._closing = torch.multiprocessing.get_context().Event()

    def announce(self) -> None:
        """Let the workers end when they are told to."""
        self._closing.set()

    def in_worker(self, worker: int) -> None:
        """Set up a worker; given to a DataLoader as its ``worker_init_fn``."""
        del worker
        for number in (signal.SIGINT, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._terminate)

    def _terminate(self, number: int, frame: object) -> None:
        del number, frame
        if self._closing.is_set() or os.getppid() != self._parent:
            os._exit(0)


class MapLoader:
    """The steps of a run over a dataset with ``len()`` and ``[index]``, from any position on.

    Args:
        dataset: Map-style.
        plan: Which samples come when; its ``size`` is the dataset's.
        collate: Samples -> batch; None: torch's default.
        workers: Processes that load, ahead over the bounds of steps and epochs; 0: this process loads, when asked.
        pin_memory: Copy batches to pinned memory, for a GPU.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        plan: Plan,
        *,
        collate: Collate | None = None,
        workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        self._plan, self._workers, self._pin_memory = plan, workers, pin_memory
        self._fetch = Fetch(dataset, collate, plan.seed)
        self._closing = Closing() if workers else None
        self._parts: Iterator[Batch] | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which an epoch is done; the last may be smaller."""
        return self._plan.steps_per_epoch

    def steps(self, step: int, sample: int, end_step: int) -> Iterator[StepData]:
        """Yield the steps ``step`` to ``end_step`` - 1, of which the first begins with the sample number ``sample``."""
        for plan in self._plan.steps(step, sample, end_step):
            if self._parts is None:
                self._parts = self._batches(self._plan.steps(step, sample, end_step))
            parts = plan.parts
            if self._workers or self._pin_memory:
                batches = list(itertools.islice(self._parts, len(parts)))
                if len(batches) < len(parts):  # a rehearsal lets loaders run dry
                    break
            else:
                batches = [self._fetch[part] for part in parts]
            fillers = sum(part.filler for part in parts)
            indices = [part.indices for part in parts]
            end = plan.sample + plan.samples
            yield StepData(plan.step, plan.epoch, plan.samples, end, plan.ends_epoch, batches, indices, fillers)
        self.close()

    def _batches(self, steps: Iterator[StepPlan]) -> Iterator[Batch]:
        if not self._workers and not self._pin_memory:
            return iter(())
        loader = DataLoader(
            self._fetch,
            batch_size=None,  # a "sample" of this loader is a micro-batch
            sampler=cast("Any", _Parts(steps)),
            num_workers=self._workers,
            collate_fn=as_it_is,
            worker_init_fn=None if self._closing is None else self._closing.in_worker,
            pin_memory=self._pin_memory,
            generator=torch.Generator(),  # else iter() would draw from the global one
        )
        return iter(loader)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds besides the position: nothing."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take what :meth:`state_dict` returned."""
        del state

    def close(self) -> None:
        """End the workers; calling it again does nothing."""
        if self._closing is not None:
            self._closing.announce()
        self._parts = None
