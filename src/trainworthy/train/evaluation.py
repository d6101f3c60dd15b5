"""The mean of each metric over the validation data: every sample once, over uneven last batches and any ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from trainworthy.train.batches import moved
from trainworthy.train.layout import Layout
from trainworthy.train.loading import Fetch, MicroBatch, share
from trainworthy.train.meters import Meters
from trainworthy.train.precision import Precision
from trainworthy.train.randomness import StepSeeder
from trainworthy.train.recipe import Batch, LossFunction

if TYPE_CHECKING:
    from torch import nn
    from torch.utils.data import Dataset

EVALUATION_EPOCH = -1  # items of validation data draw the same numbers each time, others than in any epoch of training


class Evaluation:
    """Validation data and what is measured on it.

    Args:
        data: Map-style.
        loss: ``(model, batch) -> Loss``.
        collate: Samples -> batch.
        count: Items in a batch, where the loss does not say.
        batch_size: Samples that a rank takes at a time.
        layout: Ranks share the samples.
        seed: The run's seed, for data that draws.
        workers: Processes that load, for each rank.
    """

    def __init__(
        self,
        data: Dataset[Any],
        loss: LossFunction,
        *,
        collate: Callable[[list[Any]], Batch] | None,
        count: Callable[[Batch], float],
        batch_size: int,
        layout: Layout,
        precision: Precision,
        seeder: StepSeeder,
        seed: int,
        workers: int = 0,
    ) -> None:
        self._data, self._loss, self._layout, self._precision, self._seeder = data, loss, layout, precision, seeder
        self._parts = list(rank_parts(len(data), batch_size, layout.data_rank, layout.data))  # type: ignore[arg-type]
        self._fetch, self._workers, self._count = Fetch(data, collate, seed), workers, count

    @torch.no_grad()
    def run(self, model: nn.Module, stopped: Callable[[], bool]) -> dict[str, float] | None:
        """Return the mean of each metric, ``loss`` among them; None if the run was asked to stop meanwhile.

        The model is in evaluation mode for the length of this, and afterwards in the mode that each module had.
        """
        meters = Meters()
        with evaluating(model), self._precision.context():
            for place, (part, batch) in enumerate(zip(self._parts, self._batches(), strict=True)):
                if stopped():
                    return None
                self._seeder(place)
                loss = self._loss(model, moved(batch, self._precision.device))
                counts = 0.0 if part.filler else 1.0
                weight = self._count(batch) if loss.weight is None else loss.weight
                meters.add("loss", loss.total * counts, weight * counts)
                for name, mean in loss.metrics.items():
                    meters.add(name, mean.total * counts, mean.weight * counts)
        return meters.read(self._layout.sum)

    def _batches(self) -> Iterator[Batch]:
        from torch.utils.data import DataLoader

        return iter(
            DataLoader(
                self._fetch,
                batch_size=None,
                sampler=self._parts,
                num_workers=self._workers,
                collate_fn=_as_it_is,
                generator=torch.Generator(),
            )
        )


def rank_parts(size: int, batch_size: int, rank: int, ranks: int) -> Iterator[MicroBatch]:
    """Yield the batches of one rank: each sample is in one batch of one rank, and all ranks have as many batches.

    A rank that has one less gets a filler, which does not count (shards have to join in each forward pass).
    """
    mine = share(size, rank, ranks)
    largest = -(-size // ranks)
    needed = -(-largest // batch_size)
    for start in range(mine.start, mine.stop, batch_size):
        needed -= 1
        yield MicroBatch(EVALUATION_EPOCH, start, list(range(start, min(start + batch_size, mine.stop))), False)
    for _ in range(needed):
        yield MicroBatch(EVALUATION_EPOCH, 0, [0], True)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode, and afterwards each module into the mode that it had."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _as_it_is(batch: Batch) -> Batch:
    return batch
