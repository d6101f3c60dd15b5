"""Steps over an iterable dataset: data that comes in its own order, with a position only it knows.

A dataset keeps its position by the protocol of StatefulDataLoader: ``state_dict()`` and ``load_state_dict()``, on the
dataset or on its iterator. One that has neither is read again from the start of the epoch, and what had been taken is
dropped; that is exact where its order is, and takes time. ``set_epoch(epoch)`` is called where there is one.

Every rank and every worker iterates the dataset; that they get different samples is up to the dataset
(``torch.utils.data.get_worker_info()``, ``torch.distributed.get_rank()``), as everywhere in PyTorch. For this reason a
continued run is exact only with the same number of ranks and workers.

Each sample is drawn with random numbers of its own: f(seed, epoch, rank, worker, how many came before it).
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import torch
from torch.utils.data import DataLoader, IterableDataset, default_collate, get_worker_info

from trainworthy.errors import TrainError
from trainworthy.train.loading import Batch, Closing, Collate, StepData, as_it_is, share
from trainworthy.train.randomness import Domain, mix, set_host_generators
from trainworthy.train.ranks import Ranks


class _Drawn(NamedTuple):
    """A micro-batch, from which worker it came, and where that worker was after it; an empty one is its last word."""

    worker: int
    size: int
    batch: Batch
    state: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """What decides what a rank draws.

    Attributes:
        batch_size: Samples of a step over all ranks and micro-batches.
        micro_batch_size: Samples that a rank takes at a time; None: all of its share.
        seed: The run's seed.
        ranks: Who shares a step's samples.
    """

    batch_size: int
    micro_batch_size: int | None = None
    seed: int = 0
    ranks: Ranks = field(default_factory=Ranks)

    @property
    def micro(self) -> int:
        """Samples in a micro-batch."""
        mine = len(share(self.batch_size, self.ranks.rank, self.ranks.size))
        return max(1, min(self.micro_batch_size or mine, mine))

    @property
    def micro_batches(self) -> int:
        """Micro-batches in a step, the same on all ranks."""
        largest = -(-self.batch_size // self.ranks.size)
        return -(-largest // (self.micro_batch_size or largest))


class _Source(IterableDataset[_Drawn]):
    """Draws the micro-batches of one epoch, in a worker or in the training process."""

    def __init__(
        self,
        dataset: IterableDataset[Any],
        collate: Collate | None,
        stream: Stream,
        epoch: int,
        states: list[dict[str, Any]],
    ) -> None:
        self._dataset, self._collate = dataset, collate or default_collate
        self._micro, self._epoch, self._states = stream.micro, epoch, states
        self._key = mix(stream.seed, Domain.STREAM, epoch, stream.ranks.rank)

    def __iter__(self) -> Iterator[_Drawn]:
        info = get_worker_info()
        worker = 0 if info is None else info.id
        key, before = mix(self._key, worker), self._states[worker] if self._states else {}
        if before.get("ended"):
            yield _Drawn(worker, 0, None, before)
            return
        drawn = before.get("drawn", 0)
        set_host_generators(mix(key, 0, Domain.ORDER))
        items = self._begin(before.get("position"), drawn, key)
        while True:
            samples: list[Any] = []
            for _ in range(self._micro):
                set_host_generators(mix(key, drawn + len(samples)))
                try:
                    samples.append(next(items))
                except StopIteration:
                    break
            drawn += len(samples)
            if samples:
                set_host_generators(mix(key, drawn, Domain.COLLATE))
                batch = self._collate(samples)
                yield _Drawn(worker, len(samples), batch, {"drawn": drawn, "position": self._position(items)})
            if len(samples) < self._micro:
                yield _Drawn(worker, 0, None, {"ended": True})
                return

    def _begin(self, position: Any, drawn: int, key: int) -> Iterator[Any]:
        dataset: Any = self._dataset
        if hasattr(dataset, "set_epoch"):
            dataset.set_epoch(self._epoch)
        if position is not None and hasattr(dataset, "load_state_dict"):
            dataset.load_state_dict(position)
            return iter(dataset)
        items: Any = iter(dataset)
        if position is not None:
            items.load_state_dict(position)
            return cast("Iterator[Any]", items)
        for place in range(drawn):
            set_host_generators(mix(key, place))
            next(items)
        return cast("Iterator[Any]", items)

    def _position(self, items: Any) -> Any:
        owner: Any = self._dataset if hasattr(self._dataset, "load_state_dict") else items
        return copy.deepcopy(owner.state_dict()) if hasattr(owner, "load_state_dict") else None


class _Epoch:
    """The micro-batches of an epoch, taken from the workers in turn, and the position after the last one taken."""

    def __init__(self, loader: Iterator[_Drawn], states: list[dict[str, Any]], turn: int) -> None:
        self._loader = loader
        self._ready: list[deque[_Drawn]] = [deque() for _ in states]
        self._open = [not state.get("ended") for state in states]
        self._next: _Drawn | None = None
        self._turn = turn
        self.states, self.turn = list(states), turn
        self._look_ahead()

    @property
    def has_more(self) -> bool:
        """Say whether there is another micro-batch."""
        return self._next is not None

    def take(self) -> _Drawn:
        """Return the next micro-batch."""
        drawn = self._next
        assert drawn is not None, "has_more says so"
        self.states[drawn.worker] = drawn.state
        self.turn = (drawn.worker + 1) % len(self.states)
        self._look_ahead()
        return drawn

    def close(self) -> None:
        """Let go of the workers."""
        self._loader = iter(())

    def _look_ahead(self) -> None:
        self._next = None
        while any(self._open):
            worker, self._turn = self._turn, (self._turn + 1) % len(self._open)
            if self._open[worker]:
                drawn = self._of(worker)
                if drawn.size:
                    self._next = drawn
                    return
                self._open[worker] = False
                self.states[worker] = drawn.state

    def _of(self, worker: int) -> _Drawn:
        while not self._ready[worker]:
            drawn = next(self._loader)
            self._ready[drawn.worker].append(drawn)
        return self._ready[worker].popleft()


class StreamLoader:
    """The steps of a run over an iterable dataset.

    Args:
        dataset: Iterable.
        stream: What decides what a rank draws.
        collate: Samples -> batch; None: torch's default.
        workers: Processes that draw; 0: this one.
        pin_memory: Copy batches to pinned memory, for a GPU.
    """

    steps_per_epoch = None

    def __init__(
        self,
        dataset: IterableDataset[Any],
        stream: Stream,
        *,
        collate: Collate | None = None,
        workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        self._dataset, self._stream, self._collate = dataset, stream, collate
        self._workers, self._pin_memory = workers, pin_memory
        self._closing = Closing() if workers else None
        self._epoch: _Epoch | None = None
        self._number = 0
        self._resumed: dict[str, Any] | None = None
        self._filler: _Drawn | None = None
        self._taken = False  # something of this epoch

    def steps(self, step: int, sample: int, end_step: int) -> Iterator[StepData]:
        """Yield the steps ``step`` to ``end_step`` - 1; all ranks have to iterate together.

        Raises:
            TrainError: An epoch has no samples at all, or a rank has none in its first step.
        """
        while step < end_step:
            epoch = self._epoch = self._epoch or self._begin()
            taken = [epoch.take() for _ in range(self._stream.micro_batches) if epoch.has_more]
            words = self._stream.ranks.gather((sum(drawn.size for drawn in taken), epoch.has_more))
            samples, ends = sum(size for size, _ in words), not any(more for _, more in words)
            number = self._number
            if ends:
                self._epoch, self._number, self._resumed = None, number + 1, None
            if samples:
                self._taken = not ends
                missing = self._stream.micro_batches - len(taken)
                batches = [drawn.batch for drawn in self._filled(taken, missing)]
                yield StepData(step, number, samples, sample + samples, ends, batches, [[] for _ in batches], missing)
                step, sample = step + 1, sample + samples
            elif not self._taken:
                raise TrainError(
                    f"The training data has no samples in epoch {number}.",
                    where="Recipe.train_data",
                    fix="Let __iter__ begin anew each time; an iterator that is spent stays empty.",
                )
        self.close()

    def _filled(self, taken: list[_Drawn], missing: int) -> list[_Drawn]:
        self._filler = taken[0] if taken else self._filler
        if missing and self._filler is None:
            raise TrainError(
                f"Rank {self._stream.ranks.rank} got no samples while others did.",
                where="Recipe.train_data",
                fix="Let the iterable dataset give every rank some samples.",
            )
        return taken + [self._filler] * missing if self._filler else taken

    def _begin(self) -> _Epoch:
        count = max(1, self._workers)
        resumed = self._resumed or {"states": [{} for _ in range(count)], "turn": 0}
        source = _Source(self._dataset, self._collate, self._stream, self._number, resumed["states"])
        loader: Iterator[_Drawn] = iter(source)
        if self._workers or self._pin_memory:
            loader = iter(
                DataLoader(
                    source,
                    batch_size=None,
                    num_workers=self._workers,
                    collate_fn=as_it_is,
                    worker_init_fn=None if self._closing is None else self._closing.in_worker,
                    pin_memory=self._pin_memory,
                    generator=torch.Generator(),  # else iter() would draw from the global one
                )
            )
        return _Epoch(loader, resumed["states"], resumed["turn"])

    def state_dict(self) -> dict[str, Any]:
        """Return this rank's position after the last step that was yielded."""
        if self._epoch is None:
            return {"epoch": self._number, "workers": self._workers}
        return {
            "epoch": self._number,
            "workers": self._workers,
            "states": list(self._epoch.states),
            "turn": self._epoch.turn,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a position that :meth:`state_dict` returned.

        Raises:
            TrainError: It was saved with another number of workers.
        """
        if state["workers"] != self._workers:
            raise TrainError(
                f"The position in an iterable dataset was saved with {state['workers']} workers; now there are "
                f"{self._workers}.",
                where="train.workers",
                fix=f"Resume with train.workers={state['workers']}.",
            )
        self._number, self._taken = state["epoch"], "states" in state
        self._resumed = {"states": state["states"], "turn": state["turn"]} if "states" in state else None

    def close(self) -> None:
        """End the workers; calling it again does nothing. The position stays."""
        if self._closing is not None:
            self._closing.announce()
        if self._epoch is not None:
            self._epoch.close()
