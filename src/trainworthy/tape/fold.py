"""Fold runs of identical blocks, exactly: unfolding gives back every operation.

Works on what was recorded, never by leaving work out. Two stretches of nodes are alike if their rows agree and their
integers (layer numbers, storage numbers) grow by the same amounts from each repetition to the next. The longest run is
taken first, and what is inside of it folds again: micro-steps hold layers. The integers of an inner block must grow
alike, from one outer repetition to the next, in each of its own repetitions.
"""

from __future__ import annotations

from itertools import chain
from operator import sub

from trainworthy.tape.nodes import Leaf, Node, Repeat

MAX_NESTING = 8
_MAX_CANDIDATES = 8
_MAX_PASSES = 4

# For each block around a node, from the outermost in: what each repetition of it adds to the node's integers.
_Growth = tuple[tuple[int, ...], ...]


def fold(nodes: list[Node]) -> tuple[Node, ...]:
    """Fold tandem repeats in ``nodes``."""
    return tuple(_fold(nodes, [()] * len(nodes), MAX_NESTING)[0])


def _fold(nodes: list[Node], growths: list[_Growth], room: int) -> tuple[list[Node], list[_Growth]]:
    """Fold to at most ``room`` levels."""
    for _ in range(_MAX_PASSES):
        before = len(nodes)
        nodes, growths = _fold_once(nodes, growths, room)
        if len(nodes) == before:
            break
    return nodes, growths


def _fold_once(nodes: list[Node], growths: list[_Growth], room: int) -> tuple[list[Node], list[_Growth]]:
    ids: dict[object, int] = {}
    keys = [ids.setdefault((_key(n), g), len(ids)) for n, g in zip(nodes, growths, strict=True)]
    if len(ids) == len(nodes):
        return nodes, growths
    ints = [_ints(node) for node in nodes]
    following = _next_occurrences(keys)
    out: list[Node] = []
    out_growths: list[_Growth] = []
    at, end = 0, len(nodes)
    while at < end:
        period, count = _best_run(keys, ints, following, at, end)
        if count < 2 or _depth(nodes[at : at + period]) >= room:
            out.append(nodes[at])
            out_growths.append(growths[at])
            at += 1
            continue
        plus = [_difference(ints[at + i], ints[at + i + period]) for i in range(period)]
        inner = [(*growths[at + i], plus[i]) for i in range(period)]
        body, inner = _fold(nodes[at : at + period], inner, room - 1)
        out.append(Repeat(count, tuple(body), tuple(growth[-1] for growth in inner)))
        out_growths.append(
            tuple(tuple(chain.from_iterable(level)) for level in zip(*(growth[:-1] for growth in inner), strict=True))
        )
        at += count * period
    return out, out_growths


def _best_run(
    keys: list[int],
    ints: list[tuple[int, ...]],
    following: list[int],
    at: int,
    end: int,
) -> tuple[int, int]:
    """Find the period and count that cover the most nodes from ``at`` on."""
    best = (0, 1)
    later = following[at]
    for _ in range(_MAX_CANDIDATES):
        period = later - at
        if later >= end or at + 2 * period > end:
            break
        if keys[at : at + period] == keys[later : later + period]:
            count = _count_repeats(keys, ints, at, period, end)
            # Prefer covering more nodes; with equal cover the shorter period.
            if count >= 2 and count * period > best[0] * best[1]:
                best = (period, count)
        later = following[later]
    return best


def _count_repeats(keys: list[int], ints: list[tuple[int, ...]], at: int, period: int, end: int) -> int:
    increments = [_difference(ints[at + i], ints[at + i + period]) for i in range(period)]
    block = keys[at : at + period]
    count, start = 2, at + 2 * period
    while start + period <= end and keys[start : start + period] == block:
        previous = start - period
        if any(_difference(ints[previous + i], ints[start + i]) != increments[i] for i in range(period)):
            break
        count += 1
        start += period
    return count


def _next_occurrences(keys: list[int]) -> list[int]:
    following, seen = [len(keys)] * len(keys), dict[int, int]()
    for i in range(len(keys) - 1, -1, -1):
        following[i] = seen.get(keys[i], len(keys))
        seen[keys[i]] = i
    return following


def _depth(nodes: list[Node]) -> int:
    return max([0 if isinstance(node, Leaf) else 1 + _depth(list(node.body)) for node in nodes], default=0)


def _difference(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(map(sub, b, a))


def _key(node: Node) -> object:
    """Return what must be equal in every repetition."""
    if isinstance(node, Leaf):
        return (node.row, len(node.ints))
    return (node.count, tuple(_key(child) for child in node.body), node.increments)


def _ints(node: Node) -> tuple[int, ...]:
    """Return what may grow linearly."""
    if isinstance(node, Leaf):
        return node.ints
    return tuple(number for child in node.body for number in _ints(child))
