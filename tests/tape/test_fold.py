from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tape.tapes import count_nodes, depth, recorded_case, recorded_depth, tapes, unfold_tape, unfolded
from trainworthy.tape.fold import fold
from trainworthy.tape.memory import MemoryPoint, exact_timeline_bytes, memory_timeline
from trainworthy.tape.nodes import Leaf, Repeat, count_ops, leaves
from trainworthy.tape.record import KINDS, Tape
from trainworthy.tape.totals import step_totals
from zoo.small import CASES

# A plan is a leaf with its slopes, or a block of plans with a count; carried out, the integers of a block's k-th
# repetition have grown by k times the slope of that level.
_leaf_plans = st.tuples(st.integers(0, 3), st.lists(st.tuples(st.integers(-5, 5), st.integers(-3, 3)), max_size=3))
_plans = st.recursive(
    _leaf_plans,
    lambda p: st.tuples(st.just("block"), st.integers(2, 5), st.lists(p, min_size=1, max_size=3)),
    max_leaves=8,
)


def _carry_out(plan: Any, shift: int = 0) -> list[Leaf]:
    if plan[0] == "block":
        _, count, body = plan
        return [leaf for k in range(count) for part in body for leaf in _carry_out(part, 7 * shift + k)]
    row, ints = plan
    return [Leaf(4 * row + len(ints), tuple(start + slope * shift for start, slope in ints))]


@given(st.lists(_plans, max_size=5))
def test_unfolding_gives_back_every_operation(plans: list[Any]) -> None:
    plain = [leaf for plan in plans for leaf in _carry_out(plan)]
    folded = fold(list(plain))
    assert list(leaves(folded)) == plain
    assert sum(count_ops(node) for node in folded) == len(plain)
    assert count_nodes(folded) <= 2 * len(plain)


@given(st.lists(st.integers(0, 2), max_size=60))
def test_random_sequences_survive_folding(rows: list[int]) -> None:
    plain = [Leaf(row, (row, 2 * i)) for i, row in enumerate(rows)]
    assert list(leaves(fold(list(plain)))) == plain


@given(st.integers(2, 40), st.integers(1, 6))
def test_a_planted_repeat_is_found_whole(count: int, period: int) -> None:
    plain = [Leaf(i, (k, 3 * k + i)) for k in range(count) for i in range(period)]
    (node,) = fold([Leaf(99, ()), *plain, Leaf(98, ())])[1:-1]
    assert isinstance(node, Repeat)
    assert (node.count, len(node.body)) == (count, period)
    assert node.increments == ((1, 3),) * period


def test_blocks_of_blocks_fold_again() -> None:
    plain = [
        Leaf(row, (layer, 100 * micro + 10 * layer + row))
        for micro in range(5)
        for layer in [*range(8), None]
        for row in ([0, 1] if layer is not None else [2])
        for layer in [layer or 0]
    ]
    folded = fold(list(plain))
    assert list(leaves(folded)) == plain
    assert len(folded) == 1
    assert depth(folded) == 2
    assert count_nodes(folded) == 5  # block of 5 micro-steps: block of 8 layers (two operations), one more


def test_what_does_not_grow_evenly_is_not_folded() -> None:
    plain = [Leaf(0, (n * n,)) for n in range(4)]
    assert list(leaves(fold(list(plain)))) == plain
    assert all(node.count == 2 for node in fold(list(plain)) if isinstance(node, Repeat))


def _assert_equal_analysis(tape: Tape) -> None:
    plain = unfold_tape(tape)
    assert all(isinstance(node, Leaf) for segment in plain.segments for node in segment.nodes)
    steps = [None, *(segment.step for segment in tape.segments)]
    for step in steps:
        assert tape.row_counts(step) == plain.row_counts(step)
        assert step_totals(tape, step) == step_totals(plain, step)
    assert tape.num_ops == plain.num_ops == sum(1 for _ in tape.ops)
    assert tape.unknown_flop_ops() == plain.unknown_flop_ops()
    for device in {cls.device for cls in tape.classes}:
        _assert_equal_memory(tape, plain, device)


def _assert_equal_memory(tape: Tape, plain: Tape, device: str) -> None:
    exact = exact_timeline_bytes(plain, device)
    assert exact_timeline_bytes(tape, device) == exact
    folded, walked = memory_timeline(tape, device), memory_timeline(plain, device)
    assert folded.peak_bytes == max(exact, default=0)
    assert folded.end_bytes == walked.end_bytes
    if folded.peak is not None:
        assert exact[folded.peak.index] == folded.peak_bytes == sum(folded.peak.by_kind_bytes.values())
        assert folded.peak.by_kind_bytes == _by_kind(tape, device)[folded.peak.index]
        assert folded.peak == walked.peak
        assert folded.held == walked.held
        assert sum(held.total_bytes for held in folded.held) == folded.peak_bytes
    for point in folded.points:
        assert point.total_bytes == exact[point.index]
        assert point.total_bytes == sum(point.by_kind_bytes.values())
        _assert_is_op(plain, point)


def _assert_is_op(plain: Tape, point: MemoryPoint) -> None:
    leaf = [leaf for segment in plain.segments for leaf in segment.nodes][point.index]
    assert isinstance(leaf, Leaf)
    row = plain.rows[leaf.row]
    assert point.op == plain.signatures[row.signature].name
    assert point.source == plain.sources[row.source]


def _by_kind(tape: Tape, device: str) -> list[dict[str, int]]:
    """Walk storages one by one, knowing nothing of blocks."""
    unit = tape.granularity_bytes
    change: dict[int, list[tuple[str, int]]] = {}
    for storage in tape.storages():
        if storage.device == device:
            size = -(-storage.size_bytes // unit) * unit
            change.setdefault(storage.birth, []).append((storage.kind, size))
            if storage.death is not None:
                change.setdefault(storage.death, []).append((storage.kind, -size))
    now, out = dict.fromkeys(KINDS, 0), []
    for index in range(tape.num_ops):
        for kind, size in change.get(index, ()):
            now[kind] += size  # type: ignore[index]
        out.append(dict(now))
    return out  # type: ignore[return-value]


@given(tapes())
def test_a_folded_tape_is_analysed_as_the_unfolded_one(tape: Tape) -> None:
    _assert_equal_analysis(tape)


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_recorded_tape_is_analysed_as_the_unfolded_one(name: str) -> None:
    _assert_equal_analysis(recorded_case(name))


def test_twice_the_layers_make_the_tape_hardly_longer() -> None:
    few, many = recorded_depth(12), recorded_depth(24)
    assert many.num_ops > 1.8 * few.num_ops
    for a, b in zip(few.segments, many.segments, strict=True):
        assert count_nodes(b.nodes) < 1.2 * count_nodes(a.nodes) + 2
    _assert_equal_analysis(many)


def test_units_of_recorded_repeats_are_blocks() -> None:
    tape = recorded_depth(24)
    counts = {node.count for segment in tape.segments for node in segment.nodes if isinstance(node, Repeat)}
    assert max(counts) >= 20
    assert unfolded(tape.segments[0].nodes)
