"""What a collective operation moves; `collective_times` says in how many steps and how long that takes.

``payload_bytes`` is the size that nccl-tests prints for the operation:

==============  ======================================================================================
kind            payload
==============  ======================================================================================
all_reduce      the tensor; every rank has one of that size, before and after
all_gather      the gathered result, which every rank has afterwards; each rank put in 1/ranks of it
reduce_scatter  the whole input of one rank; each rank keeps 1/ranks of the sum
broadcast       the tensor, which ``root`` has before and every rank afterwards
reduce          the tensor; every rank has one before, ``root`` has the sum afterwards
gather          the gathered result, which ``root`` has afterwards; each rank put in 1/ranks of it
scatter         the whole input of ``root``; each rank gets 1/ranks of it
all_to_all      the whole input of one rank: ``ranks`` equal pieces, the one that it keeps included
send_recv       the message; ``root`` sends it to the rank after it
==============  ======================================================================================

``rank=None`` asks for the busiest rank, which is the one that decides the time. What a rank keeps for itself moves
nothing, so a group of one rank sends 0 bytes in 0 steps.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from trainworthy.errors import FormulaError
from trainworthy.formulas.arguments import (
    ceil_div,
    require_divisible,
    require_one_of,
    require_whole,
)
from trainworthy.formulas.collective_schedules import binary_tree, double_binary_trees

Kind = Literal[
    "all_reduce", "all_gather", "reduce_scatter", "broadcast", "reduce", "gather", "scatter", "all_to_all", "send_recv"
]
Algorithm = Literal["ring", "tree"]

KINDS: tuple[Kind, ...] = (
    "all_reduce", "all_gather", "reduce_scatter", "broadcast", "reduce", "gather", "scatter", "all_to_all", "send_recv",
)  # fmt: skip
TREE_KINDS: tuple[Kind, ...] = ("all_reduce", "broadcast", "reduce")
HIERARCHICAL_KINDS: tuple[Kind, ...] = (
    "all_reduce", "all_gather", "reduce_scatter", "broadcast", "reduce", "all_to_all",
)  # fmt: skip
_EQUAL_PIECES = ("all_gather", "reduce_scatter", "gather", "scatter", "all_to_all")


class LevelBytes(NamedTuple):
    """What the busiest rank sends inside its node and what it sends to other nodes."""

    inside_bytes: int
    between_bytes: int


def ring_bytes_sent(*, kind: Kind, payload_bytes: int, ranks: int, rank: int | None = None, root: int = 0) -> int:
    """Count the bytes that a rank sends in a ring (gather, scatter and all-to-all: directly to their goal, as in NCCL).

    Shapes:   a payload of S bytes over N ranks, in chunks of S/N (an all-reduce whose S is not divisible has chunks
              that differ by one byte)
    Unit:     bytes
    Exact?    yes. all_reduce 2 (N - 1)/N S; all_gather, reduce_scatter and all_to_all (N - 1)/N S; broadcast S, but
              the last of the chain 0; reduce S, but the root 0; gather S/N, but the root 0; scatter (N - 1)/N S by the
              root
    Source:   Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations", 2009;
              nccl-tests, doc/PERFORMANCE.md

    >>> ring_bytes_sent(kind="all_reduce", payload_bytes=1_000_000_000, ranks=8)
    1750000000
    >>> [ring_bytes_sent(kind="all_reduce", payload_bytes=10, ranks=4, rank=rank) for rank in range(4)]
    [14, 15, 16, 15]
    >>> (
    ...     ring_bytes_sent(kind="all_gather", payload_bytes=800, ranks=8),
    ...     ring_bytes_sent(kind="broadcast", payload_bytes=800, ranks=8),
    ... )
    (700, 800)

    Raises:
        FormulaError: If an argument is negative, a rank is outside the group, or equal pieces were promised and
            ``ranks`` does not divide the payload.
    """
    _check(kind, payload_bytes, ranks, rank, root)
    if rank is None:
        return max(_ring_sent(kind, payload_bytes, ranks, each, root) for each in _candidates(ranks, root))
    return _ring_sent(kind, payload_bytes, ranks, rank, root)


def ring_bytes_received(*, kind: Kind, payload_bytes: int, ranks: int, rank: int | None = None, root: int = 0) -> int:
    """Count the bytes that a rank receives; see `ring_bytes_sent`.

    Shapes:   a payload of S bytes over N ranks
    Unit:     bytes
    Exact?    yes; over all ranks the sum is that of the bytes sent
    Source:   as `ring_bytes_sent`

    >>> (
    ...     ring_bytes_received(kind="gather", payload_bytes=800, ranks=8),
    ...     ring_bytes_received(kind="gather", payload_bytes=800, ranks=8, rank=3),
    ... )
    (700, 0)

    Raises:
        FormulaError: As `ring_bytes_sent`.
    """
    _check(kind, payload_bytes, ranks, rank, root)
    if rank is None:
        return max(_ring_received(kind, payload_bytes, ranks, each, root) for each in _candidates(ranks, root))
    return _ring_received(kind, payload_bytes, ranks, rank, root)


def tree_bytes_sent(*, kind: Kind, payload_bytes: int, ranks: int, rank: int | None = None, root: int = 0) -> int:
    """Count the bytes that a rank sends in a tree.

    An all-reduce goes up and down two binary trees at once, each with half of the tensor; a rank that has children in
    one is a leaf, or nearly, in the other. Broadcast and reduce use one binary tree.

    Shapes:   a payload of S bytes over N ranks
    Unit:     bytes
    Exact?    yes, for these trees. An all-reduce sends at most 2 S (and a byte, if S is odd), about what a ring
              sends; the gain is in the steps, 2 log2(N) where a ring has 2 (N - 1)
    Source:   Sanders, Speck and Traeff, "Two-tree algorithms for full bandwidth broadcast, reduction and scan", 2009;
              NCCL, src/graph/trees.cc (the picture in its comment)

    >>> tree_bytes_sent(kind="all_reduce", payload_bytes=1000, ranks=8)
    2000
    >>> sum(tree_bytes_sent(kind="all_reduce", payload_bytes=1000, ranks=8, rank=rank) for rank in range(8))
    14000

    Raises:
        FormulaError: As `ring_bytes_sent`, and for a kind that trees do not carry.
    """
    _check(kind, payload_bytes, ranks, rank, root)
    sent = _tree_bytes(kind, payload_bytes, ranks, root)[0]
    return max(sent) if rank is None else sent[rank]


def tree_bytes_received(*, kind: Kind, payload_bytes: int, ranks: int, rank: int | None = None, root: int = 0) -> int:
    """Count the bytes that a rank receives in a tree; see `tree_bytes_sent`.

    Shapes:   a payload of S bytes over N ranks
    Unit:     bytes
    Exact?    yes; over all ranks the sum is that of the bytes sent
    Source:   as `tree_bytes_sent`

    >>> [tree_bytes_received(kind="reduce", payload_bytes=10, ranks=4, rank=rank) for rank in range(4)]
    [10, 0, 20, 0]

    Raises:
        FormulaError: As `tree_bytes_sent`.
    """
    _check(kind, payload_bytes, ranks, rank, root)
    received = _tree_bytes(kind, payload_bytes, ranks, root)[1]
    return max(received) if rank is None else received[rank]


def hierarchical_bytes_sent(*, kind: Kind, payload_bytes: int, ranks_per_node: int, nodes: int) -> LevelBytes:
    """Count what the busiest rank sends when the operation is done inside nodes and between nodes apart.

    An all-reduce is a reduce-scatter inside the node, an all-reduce of the rank's chunk between nodes, and an
    all-gather inside the node; the others are split the same way.

    Shapes:   a payload of S bytes over K nodes of M ranks
    Unit:     bytes
    Exact?    yes. all_reduce: 2 (M - 1)/M S inside, 2 (K - 1)/K S/M between; all_gather and reduce_scatter:
              (M - 1)/M S inside, (K - 1)/K S/M between; all_to_all: (M - 1)/M S inside, (K - 1)/K S between;
              broadcast and reduce: S each
    Source:   Cho et al., "BlueConnect: decomposing all-reduce for deep learning on heterogeneous network hierarchy",
              2019

    >>> hierarchical_bytes_sent(kind="all_reduce", payload_bytes=1_600, ranks_per_node=8, nodes=4)
    LevelBytes(inside_bytes=2800, between_bytes=300)
    >>> hierarchical_bytes_sent(kind="all_reduce", payload_bytes=1_600, ranks_per_node=32, nodes=1)
    LevelBytes(inside_bytes=3100, between_bytes=0)

    Raises:
        FormulaError: If an argument is negative, the kind is not split this way, or pieces would not be equal.
    """
    require_one_of(HIERARCHICAL_KINDS, kind=kind)
    require_whole(1, ranks_per_node=ranks_per_node, nodes=nodes)
    require_whole(0, payload_bytes=payload_bytes)
    if kind in _EQUAL_PIECES:
        require_divisible("ranks_per_node * nodes", ranks_per_node * nodes, payload_bytes=payload_bytes)
    inside = ring_bytes_sent(kind=kind, payload_bytes=payload_bytes, ranks=ranks_per_node)
    part = payload_bytes
    if kind in {"all_reduce", "all_gather", "reduce_scatter"}:
        part = ceil_div(payload_bytes, ranks_per_node)
    return LevelBytes(inside, ring_bytes_sent(kind=kind, payload_bytes=part, ranks=nodes))


def all_to_all_bytes(*, pieces_bytes: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, int], ...]:
    """Count what each rank sends and receives in an all-to-all of unequal pieces, as experts have them.

    Shapes:   ``pieces_bytes[i][j]`` goes from rank i to rank j; square
    Unit:     bytes: (sent, received) for each rank
    Exact?    yes; the diagonal stays where it is
    Source:   definition of MPI_Alltoallv

    >>> all_to_all_bytes(pieces_bytes=((5, 1), (7, 2)))
    ((1, 7), (7, 1))

    Raises:
        FormulaError: If the table is not square or a size is negative.
    """
    ranks = len(pieces_bytes)
    for row in pieces_bytes:
        if len(row) != ranks:
            raise FormulaError("pieces_bytes", pieces_bytes, "square: one row and one column a rank")
        for size in row:
            require_whole(0, pieces_bytes=size)
    return tuple(
        (
            sum(pieces_bytes[rank]) - pieces_bytes[rank][rank],
            sum(row[rank] for row in pieces_bytes) - pieces_bytes[rank][rank],
        )
        for rank in range(ranks)
    )


def _check(kind: Kind, payload_bytes: int, ranks: int, rank: int | None, root: int) -> None:
    require_one_of(KINDS, kind=kind)
    require_whole(1, ranks=ranks)
    require_whole(0, payload_bytes=payload_bytes, root=root)
    if rank is not None:
        require_whole(0, rank=rank)
    for name, value in (("rank", rank), ("root", root)):
        if value is not None and value >= ranks:
            raise FormulaError(name, value, f"below ranks = {ranks}")
    if kind in _EQUAL_PIECES:
        require_divisible(
            "ranks", ranks, payload_bytes=payload_bytes, fix=f"{kind} has equal pieces: pad the tensor to a multiple."
        )


def _candidates(ranks: int, root: int) -> set[int]:
    """Return ranks of which one is the busiest: larger chunks come first, so the last ranks keep the smallest."""
    return {0, ranks - 1, max(ranks - 2, 0), root, (root + 1) % ranks}


def _ring_sent(kind: Kind, payload: int, ranks: int, rank: int, root: int) -> int:
    if ranks == 1:
        return 0
    if kind == "all_reduce":  # reduce-scatter sends all chunks but its own, all-gather all but its neighbour's
        return 2 * payload - _chunk(payload, ranks, rank) - _chunk(payload, ranks, (rank + 1) % ranks)
    if kind == "broadcast":
        return payload if (rank - root) % ranks < ranks - 1 else 0
    if kind == "reduce":
        return payload if rank != root else 0
    if kind == "send_recv":
        return payload if rank == root else 0
    piece = payload // ranks
    if kind == "gather":
        return piece if rank != root else 0
    if kind == "scatter":
        return payload - piece if rank == root else 0
    return payload - piece


def _ring_received(kind: Kind, payload: int, ranks: int, rank: int, root: int) -> int:
    if ranks == 1:
        return 0
    if kind in {"all_reduce", "all_gather", "reduce_scatter", "all_to_all"}:  # a ring: what the one before sends
        return _ring_sent(kind, payload, ranks, (rank - 1) % ranks, root)
    if kind == "broadcast":
        return payload if rank != root else 0
    if kind == "reduce":
        return payload if rank != (root + 1) % ranks else 0
    if kind == "send_recv":
        return payload if rank == (root + 1) % ranks else 0
    piece = payload // ranks
    if kind == "gather":
        return payload - piece if rank == root else 0
    return piece if rank != root else 0


def _chunk(payload: int, ranks: int, index: int) -> int:
    whole, rest = divmod(payload, ranks)
    return whole + (index < rest)


def _tree_bytes(kind: Kind, payload: int, ranks: int, root: int) -> tuple[list[int], list[int]]:
    """Return what each rank sends and what each receives."""
    require_one_of(TREE_KINDS, kind=kind)
    up, down = [0] * ranks, [0] * ranks  # bytes a rank sends to its parents, and to its children
    if kind == "all_reduce":
        parts = zip(double_binary_trees(ranks=ranks), (payload - payload // 2, payload // 2), strict=True)
    else:
        rotated = binary_tree(ranks=ranks)
        parents = tuple(
            None if (parent := rotated[(rank - root) % ranks]) is None else (parent + root) % ranks
            for rank in range(ranks)
        )
        parts = zip((parents,), (payload,), strict=True)
    for tree, size in parts:
        for rank, parent in enumerate(tree):
            if parent is not None:
                up[rank] += size
                down[parent] += size
    if kind == "all_reduce":
        both = [a + b for a, b in zip(up, down, strict=True)]
        return both, both
    return (down, up) if kind == "broadcast" else (up, down)
