"""The folded sequence of operations: a ``Leaf`` is one, a ``Repeat`` a run of blocks that differ in integers only.

The integers of a block (layer index, storage numbers) grow linearly from one repetition to the next, so that folding
loses nothing. Nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Leaf(NamedTuple):
    """One operation. ``ints``: module indices, then input, output, born and dead storage numbers."""

    row: int
    ints: tuple[int, ...]


class Repeat(NamedTuple):
    """``count`` repetitions of ``body``; ``increments[i]`` is added to ``body[i]``'s integers."""

    count: int  # type: ignore[assignment]  # not tuple.count, which nobody needs here
    body: tuple[Node, ...]
    increments: tuple[tuple[int, ...], ...]


Node = Leaf | Repeat


def count_ops(node: Node) -> int:
    """Count the operations that a node stands for."""
    if isinstance(node, Leaf):
        return 1
    return node.count * sum(count_ops(child) for child in node.body)


def count_rows(node: Node, times: int, counts: dict[int, int]) -> None:
    """Add to ``counts`` how often each row of ``node`` runs, ``times`` over."""
    if isinstance(node, Leaf):
        counts[node.row] = counts.get(node.row, 0) + times
    else:
        for child in node.body:
            count_rows(child, times * node.count, counts)


def num_ints(node: Node) -> int:
    """Count the integers that vary between repetitions of ``node``."""
    if isinstance(node, Leaf):
        return len(node.ints)
    return sum(num_ints(child) for child in node.body)


def leaves(nodes: tuple[Node, ...]) -> Iterator[Leaf]:
    """Yield the leaves of ``nodes`` in order, every repetition expanded."""
    for node in nodes:
        if isinstance(node, Leaf):
            yield node
        else:
            for k in range(node.count):
                shifted = tuple(
                    shift(child, increment, k) for child, increment in zip(node.body, node.increments, strict=True)
                )
                yield from leaves(shifted)


def shift(node: Node, increment: tuple[int, ...], times: int) -> Node:
    """Add ``times * increment`` to the integers of ``node``."""
    if times == 0 or not any(increment):
        return node
    if isinstance(node, Leaf):
        return Leaf(node.row, tuple(a + times * d for a, d in zip(node.ints, increment, strict=True)))
    body, at = [], 0
    for child in node.body:
        size = num_ints(child)
        body.append(shift(child, increment[at : at + size], times))
        at += size
    return Repeat(node.count, tuple(body), node.increments)


def fill_template(template: str, numbers: tuple[int, ...]) -> str:
    """Put layer numbers back: ``h.{}.attn`` with ``(3,)`` is ``h.3.attn``."""
    return template.format(*numbers) if numbers else template
