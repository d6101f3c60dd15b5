"""Samples of different lengths to one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import default_collate

from trainworthy.errors import UsageError
from trainworthy.parts.masks import Side, lengths_keep, pad


@dataclass(frozen=True, slots=True, kw_only=True)
class PadCollate:
    """Stack samples that are dictionaries: sequences are padded, the rest goes to torch's ``default_collate``.

    The batch has two more keys: ``lengths`` (B,) and ``real`` (B, T), of the first sequence that is padded. An
    instance can be pickled, as workers that are spawned want it.

    Attributes:
        values: What each sequence is padded with, by its key: the padding token, and for targets the index that the
            loss ignores.
        side: Where the padding goes.
        multiple_of: The length is rounded up to a multiple of this; tensor cores like multiples of 8.

    >>> collate = PadCollate(values={"tokens": 0, "labels": -100})
    >>> batch = collate([{"tokens": [5, 6], "labels": [1, 1], "id": 7}, {"tokens": [8], "labels": [2], "id": 9}])
    >>> batch["labels"], batch["id"], batch["real"].int()
    (tensor([[   1,    1],
            [   2, -100]]), tensor([7, 9]), tensor([[1, 1],
            [1, 0]], dtype=torch.int32))
    """

    values: Mapping[str, float]
    side: Side = "right"
    multiple_of: int = 1
    _reserved: tuple[str, str] = field(default=("lengths", "real"), init=False)

    def __call__(self, samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Make the batch.

        Shapes:   each sequence (T_i, ...) -> (B, T, ...)

        Raises:
            UsageError: If samples have different keys, a key is missing or has the name of one that is added.
        """
        keys = list(samples[0])
        self._check(samples, keys)
        batch: dict[str, Any] = {}
        for key in self.values:
            rows = [torch.as_tensor(sample[key]) for sample in samples]
            batch[key] = self._padded(rows, self.values[key])
            if "lengths" not in batch:
                lengths = torch.tensor([len(row) for row in rows])
                batch |= {"lengths": lengths, "real": lengths_keep(lengths, batch[key].shape[1], self.side)}
        for key in keys:
            if key not in self.values:
                batch[key] = default_collate([sample[key] for sample in samples])
        return batch

    def _check(self, samples: Sequence[Mapping[str, Any]], keys: list[str]) -> None:
        for index, sample in enumerate(samples):
            if set(sample) != set(keys):
                raise UsageError(f"Sample {index} of the batch has keys {sorted(sample)}, the first {sorted(keys)}.")
        missing = next((key for key in self.values if key not in keys), None)
        if missing is not None:
            raise UsageError(f"Samples have no key {missing!r}; they have {sorted(keys)}.")
        taken = next((key for key in self._reserved if key in keys), None)
        if taken is not None:
            raise UsageError(f"Samples have a key {taken!r}, which the batch adds.", fix="Rename it.")

    def _padded(self, rows: list[Tensor], value: float) -> Tensor:
        longest = max(len(row) for row in rows)
        target = -(-longest // self.multiple_of) * self.multiple_of
        if target > longest:  # one more row sets the length
            rows = [*rows, rows[0].new_zeros((target, *rows[0].shape[1:]))]
            return pad(rows, value=value, side=self.side)[:-1]
        return pad(rows, value=value, side=self.side)
