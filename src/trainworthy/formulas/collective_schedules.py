"""Who sends what to whom, and when, in a ring and in trees: data, so that it can be drawn and replayed."""

from __future__ import annotations

from typing import Literal, NamedTuple

from trainworthy.errors import FormulaError
from trainworthy.formulas.arguments import require_one_of, require_whole

MOST_SENDS = 1_000_000  # a schedule is there to be looked at or replayed; beyond this, use the byte counts


class Send(NamedTuple):
    """One message of a ring: in ``step``, ``sender`` passes chunk ``chunk`` to ``receiver``."""

    step: int
    phase: Literal["reduce_scatter", "all_gather"]
    sender: int
    receiver: int
    chunk: int


def ring_schedule(*, kind: Literal["all_reduce", "reduce_scatter", "all_gather"], ranks: int) -> tuple[Send, ...]:
    """List every message of a ring, step by step: the payload is cut into ``ranks`` chunks.

    Reduce-scatter: in step t rank r sends chunk r - 1 - t to rank r + 1, which adds it to its own; afterwards rank r
    has the sum of chunk r. All-gather: in step t rank r sends chunk r - t, which the next one stores. An all-reduce is
    the first and then the second. Numbers of ranks and chunks count modulo ``ranks``.

    Unit:     messages
    Exact?    yes; other implementations number the chunks from another start
    Source:   Patarasuk and Yuan 2009; Gibiansky, "Bringing HPC techniques to deep learning", 2017

    >>> for send in ring_schedule(kind="all_reduce", ranks=2):
    ...     print(*send)
    0 reduce_scatter 0 1 1
    0 reduce_scatter 1 0 0
    1 all_gather 0 1 0
    1 all_gather 1 0 1

    Raises:
        FormulaError: For another kind, a group without ranks, or one of more than a million messages.
    """
    require_one_of(("all_reduce", "reduce_scatter", "all_gather"), kind=kind)
    require_whole(1, ranks=ranks)
    if 2 * ranks * (ranks - 1) > MOST_SENDS:
        raise FormulaError("ranks", ranks, f"small enough for {MOST_SENDS:,} messages", fix="Use ring_bytes_sent.")
    sends: list[Send] = []
    step = 0
    if kind != "all_gather":
        for turn in range(ranks - 1):
            sends += (
                Send(step, "reduce_scatter", rank, (rank + 1) % ranks, (rank - 1 - turn) % ranks)
                for rank in range(ranks)
            )
            step += 1
    if kind != "reduce_scatter":
        for turn in range(ranks - 1):
            sends += (
                Send(step, "all_gather", rank, (rank + 1) % ranks, (rank - turn) % ranks) for rank in range(ranks)
            )
            step += 1
    return tuple(sends)


def binary_tree(*, ranks: int) -> tuple[int | None, ...]:
    """Return the parent of each rank in a binary tree whose odd ranks are leaves; rank 0 is the root.

    The rank whose number ends in a one followed by k zeros sits k levels above the leaves; its parent is one level up,
    on the side where it exists.

    Unit:     ranks
    Exact?    yes
    Source:   Sanders, Speck and Traeff 2009; NCCL, src/graph/trees.cc (the picture in its comment)

    >>> binary_tree(ranks=8)
    (None, 2, 4, 2, 0, 6, 4, 6)

    Raises:
        FormulaError: For a group without ranks.
    """
    require_whole(1, ranks=ranks)
    parents: list[int | None] = [None]
    for rank in range(1, ranks):
        lowest_bit = rank & -rank
        left = rank - lowest_bit
        above = left | (2 * lowest_bit)
        parents.append(above if above < ranks else left)
    return tuple(parents)


def double_binary_trees(*, ranks: int) -> tuple[tuple[int | None, ...], tuple[int | None, ...]]:
    """Return the parents of two trees: a rank with children in one is a leaf, or nearly, in the other.

    The second is the mirror image of the first if the number of ranks is even, and the first shifted by one rank if it
    is odd. Each carries half of an all-reduce, so that all ranks send about the same.

    Unit:     ranks
    Exact?    yes
    Source:   as `binary_tree`

    >>> double_binary_trees(ranks=4)
    ((None, 2, 0, 2), (1, 3, 1, None))

    Raises:
        FormulaError: For a group without ranks.
    """
    first = binary_tree(ranks=ranks)
    second: list[int | None] = [None] * ranks
    for rank, parent in enumerate(first):
        if parent is None:
            continue
        if ranks % 2:
            second[(rank + 1) % ranks] = (parent + 1) % ranks
        else:
            second[ranks - 1 - rank] = ranks - 1 - parent
    return first, tuple(second)


def tree_depth(*, ranks: int) -> int:
    """Count the hops from the root of `binary_tree` to its farthest leaf.

    Unit:     hops
    Exact?    yes; it is the number of bits of ``ranks - 1``
    Source:   as `binary_tree`

    >>> [tree_depth(ranks=ranks) for ranks in (1, 2, 3, 4, 8, 9, 1024)]
    [0, 1, 2, 2, 3, 4, 10]

    Raises:
        FormulaError: For a group without ranks.
    """
    require_whole(1, ranks=ranks)
    return (ranks - 1).bit_length()
