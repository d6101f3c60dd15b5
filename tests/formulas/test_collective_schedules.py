from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainworthy.errors import FormulaError
from trainworthy.formulas.collective_schedules import binary_tree, double_binary_trees, ring_schedule, tree_depth
from trainworthy.formulas.collective_times import collective_steps
from trainworthy.formulas.collectives import ring_bytes_sent


@given(st.integers(1, 9), st.integers(0, 60), st.integers(0, 2**32 - 1))
def test_numpy_ranks_that_follow_the_schedule_have_the_sum(ranks: int, length: int, seed: int) -> None:
    inputs = np.random.default_rng(seed).integers(-99, 99, (ranks, length))
    chunks = [np.array_split(row.copy(), ranks) for row in inputs]
    sent = [0] * ranks
    schedule = ring_schedule(kind="all_reduce", ranks=ranks)
    for step in range(2 * (ranks - 1)):
        # All messages of a step leave before any arrives.
        messages = [(send, chunks[send.sender][send.chunk].copy()) for send in schedule if send.step == step]
        assert sorted(send.sender for send, _ in messages) == list(range(ranks))
        for send, data in messages:
            assert send.receiver == (send.sender + 1) % ranks
            sent[send.sender] += data.size
            if send.phase == "reduce_scatter":
                chunks[send.receiver][send.chunk] += data
            else:
                chunks[send.receiver][send.chunk][...] = data
        if step == ranks - 2:
            for rank in range(ranks):
                expected = np.array_split(inputs.sum(axis=0), ranks)[rank]
                np.testing.assert_array_equal(chunks[rank][rank], expected)
    for rank in range(ranks):
        np.testing.assert_array_equal(np.concatenate(chunks[rank]), inputs.sum(axis=0))
        # np.array_split makes the first chunks the larger ones, as the formula does.
        assert sent[rank] == ring_bytes_sent(kind="all_reduce", payload_bytes=length, ranks=ranks, rank=rank)


@given(st.integers(1, 40))
def test_an_all_reduce_is_its_halves_one_after_the_other(ranks: int) -> None:
    scatter = ring_schedule(kind="reduce_scatter", ranks=ranks)
    gather = ring_schedule(kind="all_gather", ranks=ranks)
    later = tuple(send._replace(step=send.step + ranks - 1) for send in gather)
    whole = ring_schedule(kind="all_reduce", ranks=ranks)
    assert whole == scatter + later
    assert len({send.step for send in whole}) == collective_steps(kind="all_reduce", ranks=ranks)


@given(st.integers(1, 300))
def test_trees_reach_every_rank_with_at_most_two_children(ranks: int) -> None:
    for tree in double_binary_trees(ranks=ranks):
        depths = []
        for start in range(ranks):
            rank, depth = start, 0
            while (parent := tree[rank]) is not None:
                rank, depth = parent, depth + 1
                assert depth <= ranks
            depths.append(depth)
        assert max(depths) == tree_depth(ranks=ranks)
        assert tree.count(None) == 1
        assert max(tree.count(rank) for rank in range(ranks)) <= 2


@given(st.integers(1, 200))
def test_a_rank_works_hard_in_one_tree_only(ranks: int) -> None:
    first, second = double_binary_trees(ranks=ranks)
    for rank in range(ranks):
        assert first.count(rank) + second.count(rank) <= 3


def test_goldens_of_the_pictures_in_nccl() -> None:
    # src/graph/trees.cc draws 14 ranks as one tree, then 12 mirrored and 13 shifted.
    assert binary_tree(ranks=14) == (None, 2, 4, 2, 8, 6, 4, 6, 0, 10, 12, 10, 8, 12)
    mirrored = double_binary_trees(ranks=12)[1]
    assert (mirrored[3], mirrored[7], mirrored[1], mirrored[5], mirrored[9]) == (11, 3, 3, 7, 7)
    shifted = double_binary_trees(ranks=13)[1]
    assert (shifted[9], shifted[5], shifted[0], shifted[11], shifted[12]) == (1, 9, 9, 0, 11)


def test_nonsense_is_refused() -> None:
    with pytest.raises(FormulaError, match="ranks is 0"):
        ring_schedule(kind="all_reduce", ranks=0)
    with pytest.raises(FormulaError, match="1,000,000 messages"):
        ring_schedule(kind="all_reduce", ranks=1024)
    with pytest.raises(FormulaError, match="kind is 'reduce'"):
        ring_schedule(kind="reduce", ranks=4)  # type: ignore[arg-type]
    for function in (binary_tree, double_binary_trees, tree_depth):
        with pytest.raises(FormulaError, match="ranks is -1"):
            function(ranks=-1)
