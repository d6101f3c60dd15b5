"""What the ranks of a run tell each other about checkpoints and signals: a few bytes, by way of the CPU."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

Word = TypeVar("Word")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """This rank, how many there are, and a process group for messages (gloo); alone, there is none.

    Attributes:
        rank: This rank.
        size: How many there are.
        group: Where messages travel; None where ``size`` is 1.
    """

    rank: int = 0
    size: int = 1
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
        return self.gather(word if self.rank == 0 else None)[0]  # type: ignore[return-value]

    def copy(self) -> Ranks:
        """Return the same ranks with a group of their own, for messages of another thread; all have to call this."""
        from torch import distributed

        return self if self.group is None else dataclasses.replace(self, group=distributed.new_group(backend="gloo"))


def alone() -> Ranks:
    """Return the ranks of a run in one process."""
    return Ranks()


def of_default_group() -> Ranks:
    """Return the ranks of torch's default group, with a gloo group of their own for messages; alone if there is none.

    All ranks have to call this together.
    """
    from torch import distributed

    if not distributed.is_available() or not distributed.is_initialized():
        return Ranks()
    size = distributed.get_world_size()
    if size == 1:
        return Ranks()
    return Ranks(rank=distributed.get_rank(), size=size, group=distributed.new_group(backend="gloo"))
