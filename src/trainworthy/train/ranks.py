"""Who this process is among the processes of a run, and what they tell each other about checkpoints and signals.

Words between ranks are a few bytes and travel by way of the CPU (gloo), also where gradients travel by way of GPUs.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import torch

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

Word = TypeVar("Word")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """This rank, how many there are, and a process group for words; a run of one process has none.

    Attributes:
        rank: This rank.
        size: How many there are.
        local_rank: This rank among those of its machine.
        local_size: How many ranks its machine has.
        device: Where this rank trains.
        group: Where words travel; None where ``size`` is 1.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    group: ProcessGroup | None = None

    def gather(self, word: Word) -> list[Word]:
        """Return what every rank said, in the order of ranks; all have to call this."""
        if self.group is None:
            return [word]
        from torch import distributed

        words: list[Any] = [None] * self.size
        distributed.all_gather_object(words, word, group=self.group)
        return words

    def from_first(self, word: Word) -> Word:
        """Return what rank 0 said; all have to call this."""
        return self.gather(word)[0]  # all say theirs: a rehearsal of another rank hears its own word

    def copy(self) -> Ranks:
        """Return the same ranks with a group of their own, for words of another thread; all have to call this."""
        from torch import distributed

        return self if self.group is None else dataclasses.replace(self, group=distributed.new_group(backend="gloo"))
