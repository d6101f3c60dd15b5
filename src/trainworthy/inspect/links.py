"""Over which links a group of ranks communicates: ranks are numbered node by node, as torchrun does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from trainworthy.tape.record import Collective

Place = Literal["alone", "inside a node", "between nodes", "inside and between"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """The hops of a ring over the ranks of a group, in the order of the group, and how many of them leave a node."""

    place: Place
    hops: int
    hops_between: int


def link_of(ranks: Sequence[int], *, gpus_per_node: int) -> Link:
    """Say over which links a ring over ``ranks`` passes.

    >>> link_of(range(8), gpus_per_node=8)
    Link(place='inside a node', hops=8, hops_between=0)
    >>> link_of([0, 8, 16], gpus_per_node=8)
    Link(place='between nodes', hops=3, hops_between=3)
    >>> link_of(range(16), gpus_per_node=8)
    Link(place='inside and between', hops=16, hops_between=2)
    """
    nodes = [rank // gpus_per_node for rank in ranks]
    hops = len(nodes) if len(nodes) > 1 else 0
    between = sum(1 for a, b in zip(nodes, [*nodes[1:], *nodes[:1]], strict=True) if a != b) if hops else 0
    place: Place = "inside and between"
    if not hops:
        place = "alone"
    elif not between:
        place = "inside a node"
    elif between == hops:
        place = "between nodes"
    return Link(place=place, hops=hops, hops_between=between)


def link_of_call(collective: Collective, ranks: Sequence[int], *, rank: int, gpus_per_node: int) -> Link:
    """Say over which links one call passes; a send or receive has one hop, to its peer."""
    if collective.kind not in ("send", "recv") or collective.peer is None:
        return link_of(ranks, gpus_per_node=gpus_per_node)
    leaves = rank // gpus_per_node != collective.peer // gpus_per_node
    return Link(place="between nodes" if leaves else "inside a node", hops=1, hops_between=int(leaves))


def rank_list(ranks: Sequence[int]) -> str:
    """Write ranks for people: runs are joined, long lists of a constant stride are named by it.

    >>> rank_list([0]), rank_list([0, 1, 2, 3, 8]), rank_list([0, 8, 16, 24])
    ('0', '0-3, 8', '0, 8, ... 24')
    >>> rank_list([5, 4]), rank_list([])
    ('5, 4', '')
    """
    parts = []
    at = 0
    while at < len(ranks):
        end = at
        while end + 1 < len(ranks) and ranks[end + 1] == ranks[end] + 1:
            end += 1
        if end - at > 1:
            parts.append(f"{ranks[at]}-{ranks[end]}")
        else:
            parts += [str(rank) for rank in ranks[at : end + 1]]
        at = end + 1
    strides = {b - a for a, b in pairwise(ranks)}
    if len(parts) > 3 and len(strides) == 1:
        return f"{ranks[0]}, {ranks[1]}, ... {ranks[-1]}"
    return ", ".join(parts)
