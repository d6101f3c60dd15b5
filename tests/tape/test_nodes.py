"""Folded sequences mean what they are written out to; the counts agree with the leaves."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from trainworthy.tape.nodes import Leaf, Node, Repeat, count_ops, count_rows, fill_template, leaves, num_ints, shift

LAYER = (Leaf(0, (0, 10)), Leaf(1, (0,)))
FOLDED = Repeat(3, LAYER, ((1, 2), (1,)))


@st.composite
def nodes(draw: st.DrawFn, depth: int = 2) -> Node:
    if depth == 0 or draw(st.booleans()):
        return Leaf(draw(st.integers(0, 3)), tuple(draw(st.lists(st.integers(0, 99), max_size=3))))
    body = tuple(draw(st.lists(nodes(depth=depth - 1), min_size=1, max_size=3)))
    increments = tuple(tuple(draw(st.integers(0, 5)) for _ in range(num_ints(one))) for one in body)
    return Repeat(draw(st.integers(1, 4)), body, increments)


def test_a_repeat_is_its_body_with_growing_numbers() -> None:
    assert list(leaves((FOLDED,))) == [
        Leaf(0, (0, 10)), Leaf(1, (0,)), Leaf(0, (1, 12)), Leaf(1, (1,)), Leaf(0, (2, 14)), Leaf(1, (2,)),
    ]  # fmt: skip


def test_a_shift_reaches_into_blocks() -> None:
    assert shift(Repeat(2, LAYER, ((0, 0), (0,))), (5, 6, 7), 2) == Repeat(
        2, (Leaf(0, (10, 22)), Leaf(1, (14,))), ((0, 0), (0,))
    )


def test_templates() -> None:
    assert fill_template("h.{}.mlp.{}", (3, 1)) == "h.3.mlp.1"
    assert fill_template("head", ()) == "head"


@given(nodes())
def test_counts_are_those_of_the_leaves(node: Node) -> None:
    written_out = list(leaves((node,)))
    assert count_ops(node) == len(written_out)
    counts: dict[int, int] = {}
    count_rows(node, 1, counts)
    assert counts == Counter(one.row for one in written_out)


@given(nodes(), st.integers(0, 3))
def test_a_shifted_node_has_shifted_leaves(node: Node, times: int) -> None:
    increment = tuple(range(num_ints(node)))
    total = sum(sum(one.ints) for one in leaves((shift(node, increment, times),)))
    first = sum(sum(one.ints) for one in leaves((node,)))
    repeats = sum(increment[at] * times * count for at, count in enumerate(times_run(node)))
    assert total == first + repeats


def times_run(node: Node, times: int = 1) -> list[int]:
    """Return how often each integer of a node stands in its leaves."""
    if isinstance(node, Leaf):
        return [times] * len(node.ints)
    return [one for child in node.body for one in times_run(child, times * node.count)]
