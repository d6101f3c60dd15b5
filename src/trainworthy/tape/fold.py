"""Fold runs of identical blocks, exactly: unfolding gives back every operation.

Works on what was recorded, never by leaving work out. Two stretches of nodes are alike if their
rows agree and their integers (layer numbers, storage numbers) grow by the same amounts from each
repetition to the next. Folding is repeated until nothing changes, so micro-steps that hold folded
layers fold again.
"""

from __future__ import annotations

from operator import sub

from trainworthy.tape.record import Leaf, Node, Repeat

_MAX_CANDIDATES = 8
_MAX_PASSES = 4


def fold(nodes: list[Node]) -> tuple[Node, ...]:
    """Fold tandem repeats in ``nodes``."""
    for _ in range(_MAX_PASSES):
        folded = _fold_once(nodes)
        if len(folded) == len(nodes):
            break
        nodes = folded
    return tuple(nodes)


def _fold_once(nodes: list[Node]) -> list[Node]:
    ids: dict[object, int] = {}
    keys = [ids.setdefault(_key(node), len(ids)) for node in nodes]
    ints = [_ints(node) for node in nodes]
    following = _next_occurrences(keys)
    out: list[Node] = []
    at, end = 0, len(nodes)
    while at < end:
        period, count = _best_run(keys, ints, following, at, end)
        if count < 2:
            out.append(nodes[at])
            at += 1
            continue
        body = tuple(nodes[at : at + period])
        increments = tuple(_difference(ints[at + i], ints[at + i + period]) for i in range(period))
        out.append(Repeat(count, body, increments))
        at += count * period
    return out


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


def _count_repeats(
    keys: list[int], ints: list[tuple[int, ...]], at: int, period: int, end: int
) -> int:
    increments = [_difference(ints[at + i], ints[at + i + period]) for i in range(period)]
    block = keys[at : at + period]
    count, start = 2, at + 2 * period
    while start + period <= end and keys[start : start + period] == block:
        previous = start - period
        if any(
            _difference(ints[previous + i], ints[start + i]) != increments[i]
            for i in range(period)
        ):
            break
        count += 1
        start += period
    return count


def _next_occurrences(keys: list[int]) -> list[int]:
    following, seen = [len(keys)] * len(keys), {}
    for i in range(len(keys) - 1, -1, -1):
        following[i] = seen.get(keys[i], len(keys))
        seen[keys[i]] = i
    return following


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
