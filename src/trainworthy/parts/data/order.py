"""Orders of samples: each a function of seed and epoch, so that a run that is resumed goes on with the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist
from torch.utils.data import DistributedSampler, Sampler

from trainworthy.errors import UsageError


def seed_of(*parts: int | str) -> int:
    """Mix numbers and names into one seed; unlike a sum, (1, 2) and (2, 1) differ.

    Unit:     an integer of 63 bits

    >>> seed_of(0, "epoch", 1) == seed_of(1, "epoch", 0)
    False
    """
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def epoch_order(size: int, *, seed: int, epoch: int) -> Tensor:
    """Return the order of an epoch.

    Shapes:   -> (size,), int64, each index once

    >>> sorted(epoch_order(4, seed=0, epoch=1).tolist())
    [0, 1, 2, 3]
    """
    return torch.randperm(size, generator=torch.Generator().manual_seed(seed_of(seed, epoch)))


class ReshufflingSampler(DistributedSampler[Any]):
    """A ``DistributedSampler`` that takes another order at each pass, also if nobody calls ``set_epoch``.

    torch's own gives every epoch the same order unless the loop calls ``set_epoch``, which is often forgotten. A loop
    that calls it gets the order of the epoch it says. Without a process group there is one rank. The position is saved
    with ``state_dict``.

    Args:
        dataset: Anything with a length.
        num_replicas: Number of ranks; None: of the process group, or 1.
        rank: This rank; None: of the process group, or 0.
        shuffle: Whether the order is random.
        seed: The same on all ranks.
        drop_last: Leave out what does not divide evenly; otherwise some samples are given twice.

    >>> sampler = ReshufflingSampler(range(8))
    >>> list(sampler) == list(sampler)
    False
    """

    def __init__(
        self, dataset: Any, *, num_replicas: int | None = None, rank: int | None = None, shuffle: bool = True,
        seed: int = 0, drop_last: bool = False,
    ) -> None:  # fmt: skip
        if not (dist.is_available() and dist.is_initialized()):
            num_replicas, rank = num_replicas or 1, rank or 0
        super().__init__(dataset, num_replicas, rank, shuffle=shuffle, seed=seed, drop_last=drop_last)

    def __iter__(self) -> Iterator[Any]:
        """Return the order of this epoch, and go to the next."""
        order = super().__iter__()
        self.epoch += 1
        return order

    def state_dict(self) -> dict[str, int]:
        """Return the epoch that the next pass gives."""
        return {"epoch": self.epoch, "seed": self.seed}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on where another sampler was."""
        self.epoch, self.seed = state["epoch"], state["seed"]


class LengthBucketSampler(Sampler[list[int]]):
    """Batches of samples of about equal length, so that little is padded, in an order that is random still.

    The order of the epoch is cut into buckets of ``bucket`` batches; each bucket is sorted by length and cut into
    batches; the batches are shuffled. Give it to a DataLoader as ``batch_sampler``. Each pass is the next epoch.

    All ranks get the same number of batches: if they do not divide evenly, the first ones of the epoch are given twice,
    or with ``drop_last`` the last ones to nobody.

    Args:
        lengths: Length of each sample.
        batch_size: Samples of a batch; or
        tokens: longest length times samples of a batch, at most.
        bucket: Batches of a bucket: 1 is no sorting between batches, many is a plain sort by length.
        seed: The same on all ranks.
        rank: This rank.
        ranks: Number of ranks.
        drop_last: See above.

    Raises:
        UsageError: If not exactly one of ``batch_size`` and ``tokens`` is given, or a sample is longer than ``tokens``.

    >>> sampler = LengthBucketSampler([3, 9, 3, 9], batch_size=2)
    >>> sorted(sorted(batch) for batch in sampler)
    [[0, 2], [1, 3]]
    """

    def __init__(
        self, lengths: Sequence[int], *, batch_size: int | None = None, tokens: int | None = None, bucket: int = 100,
        seed: int = 0, rank: int = 0, ranks: int = 1, drop_last: bool = False,
    ) -> None:  # fmt: skip
        if (batch_size is None) == (tokens is None):
            raise UsageError(f"batch_size is {batch_size}, tokens is {tokens}; give one of them.")
        if tokens is not None and lengths and max(lengths) > tokens:
            longest = max(range(len(lengths)), key=lengths.__getitem__)
            raise UsageError(
                f"Sample {longest} has length {lengths[longest]}, more than tokens (={tokens}).",
                fix="Cut the sample, or allow more tokens.",
            )
        self.lengths, self.batch_size, self.tokens, self.bucket = list(lengths), batch_size, tokens, bucket
        self.seed, self.rank, self.ranks, self.drop_last, self.epoch = seed, rank, ranks, drop_last, 0

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the batches of this rank, and go to the next epoch."""
        mine = self.batches(self.epoch)
        self.epoch += 1
        return iter(mine)

    def __len__(self) -> int:
        """Return the number of batches of the next pass; with ``tokens`` it differs between epochs."""
        return len(self.batches(self.epoch))

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next pass is."""
        self.epoch = epoch

    def state_dict(self) -> dict[str, int]:
        """Return the epoch that the next pass gives."""
        return {"epoch": self.epoch, "seed": self.seed}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on where another sampler was."""
        self.epoch, self.seed = state["epoch"], state["seed"]

    def batches(self, epoch: int) -> list[list[int]]:
        """Return the batches of this rank in an epoch."""
        order = epoch_order(len(self.lengths), seed=self.seed, epoch=epoch).tolist()
        size = self.bucket * self._samples_of_a_batch()
        found: list[list[int]] = []
        for start in range(0, len(order), size):
            found += self._cut(sorted(order[start : start + size], key=self.lengths.__getitem__))
        shuffled = [found[index] for index in epoch_order(len(found), seed=seed_of(self.seed, "batches"), epoch=epoch)]
        missing = -len(shuffled) % self.ranks
        if missing and self.drop_last:
            shuffled = shuffled[: len(shuffled) - len(shuffled) % self.ranks]
        elif missing and shuffled:
            shuffled += [shuffled[index % len(shuffled)] for index in range(missing)]
        return shuffled[self.rank :: self.ranks]

    def _samples_of_a_batch(self) -> int:
        if self.batch_size is not None:
            return self.batch_size
        mean = max(1.0, sum(self.lengths) / max(1, len(self.lengths)))
        return max(1, round((self.tokens or 1) / mean))

    def _cut(self, indices: list[int]) -> list[list[int]]:
        """Cut indices, shortest first, into batches."""
        if self.batch_size is not None:
            return [indices[start : start + self.batch_size] for start in range(0, len(indices), self.batch_size)]
        batches: list[list[int]] = []
        for index in indices:
            if batches and (len(batches[-1]) + 1) * self.lengths[index] <= (self.tokens or 0):
                batches[-1].append(index)
            else:
                batches.append([index])
        return batches
