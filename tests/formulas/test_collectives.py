from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainworthy.errors import FormulaError
from trainworthy.formulas.collectives import (
    HIERARCHICAL_KINDS,
    KINDS,
    TREE_KINDS,
    Kind,
    all_to_all_bytes,
    hierarchical_bytes_sent,
    ring_bytes_received,
    ring_bytes_sent,
    tree_bytes_received,
    tree_bytes_sent,
)

ranks_of = st.integers(1, 24)
EQUAL_PIECES = {"all_gather", "reduce_scatter", "gather", "scatter", "all_to_all"}


@st.composite
def groups(draw: st.DrawFn, kinds: tuple[Kind, ...] = KINDS) -> dict[str, Any]:
    kind, ranks = draw(st.sampled_from(kinds)), draw(ranks_of)
    payload = draw(st.integers(0, 5000))
    if kind in EQUAL_PIECES:
        payload *= ranks
    return {"kind": kind, "payload_bytes": payload, "ranks": ranks, "root": draw(st.integers(0, ranks - 1))}


@given(groups())
def test_what_is_sent_is_received(group: dict[str, Any]) -> None:
    everyone = range(group["ranks"])
    sent = [ring_bytes_sent(**group, rank=rank) for rank in everyone]
    received = [ring_bytes_received(**group, rank=rank) for rank in everyone]
    assert sum(sent) == sum(received)
    assert ring_bytes_sent(**group) == max(sent)
    assert ring_bytes_received(**group) == max(received)


@given(groups(TREE_KINDS))
def test_what_is_sent_up_and_down_a_tree_is_received(group: dict[str, Any]) -> None:
    everyone = range(group["ranks"])
    sent = [tree_bytes_sent(**group, rank=rank) for rank in everyone]
    assert sum(sent) == sum(tree_bytes_received(**group, rank=rank) for rank in everyone)
    # Every rank but one has to hear of every byte, whatever the algorithm.
    assert sum(sent) == sum(ring_bytes_sent(**group, rank=rank) for rank in everyone)
    assert tree_bytes_sent(**group) == max(sent)
    assert tree_bytes_received(**group) == max(tree_bytes_received(**group, rank=rank) for rank in everyone)
    if group["kind"] == "all_reduce":
        assert tree_bytes_sent(**group) <= 2 * group["payload_bytes"] + group["payload_bytes"] % 2


@given(ranks_of, st.integers(0, 5000))
def test_an_all_reduce_is_a_reduce_scatter_and_an_all_gather(ranks: int, piece: int) -> None:
    def sent(kind: Kind, rank: int) -> int:
        return ring_bytes_sent(kind=kind, payload_bytes=piece * ranks, ranks=ranks, rank=rank)

    for rank in range(ranks):
        assert sent("all_reduce", rank) == sent("reduce_scatter", rank) + sent("all_gather", rank)


@given(groups())
def test_what_must_arrive_arrives(group: dict[str, Any]) -> None:
    # Lower bounds that hold for any algorithm without reduction in the network.
    kind, payload, ranks, root = group["kind"], group["payload_bytes"], group["ranks"], group["root"]
    if ranks == 1:
        assert ring_bytes_sent(**group) == 0
        return
    received = [ring_bytes_received(**group, rank=rank) for rank in range(ranks)]
    if kind in {"all_gather", "all_to_all"}:
        assert set(received) == {payload - payload // ranks}
    elif kind == "gather":
        assert received[root] == payload - payload // ranks
    elif kind == "broadcast":
        assert [size for rank, size in enumerate(received) if rank != root] == [payload] * (ranks - 1)
        assert received[root] == 0
    elif kind in {"reduce", "send_recv"}:
        assert max(received) == payload


@given(groups(HIERARCHICAL_KINDS), st.integers(1, 6))
def test_levels_send_no_less_than_a_flat_ring_and_one_level_is_one(group: dict[str, Any], nodes: int) -> None:
    kind, ranks = group["kind"], group["ranks"]
    payload = group["payload_bytes"] * ranks * nodes
    flat = ring_bytes_sent(kind=kind, payload_bytes=payload, ranks=ranks * nodes)
    levels = hierarchical_bytes_sent(kind=kind, payload_bytes=payload, ranks_per_node=ranks, nodes=nodes)
    assert levels.inside_bytes + levels.between_bytes >= flat
    if kind in {"all_gather", "reduce_scatter"}:
        assert levels.inside_bytes + levels.between_bytes == flat
    alone = hierarchical_bytes_sent(kind=kind, payload_bytes=payload, ranks_per_node=ranks, nodes=1)
    assert alone == (ring_bytes_sent(kind=kind, payload_bytes=payload, ranks=ranks), 0)


@pytest.mark.parametrize(
    ("kind", "sent"),
    # By hand, 8 ranks and 800 bytes: NCCL's factors are 14/8, 7/8, 7/8, 1, 1, -, 7/8, 7/8, 1.
    [
        ("all_reduce", 1400), ("all_gather", 700), ("reduce_scatter", 700), ("broadcast", 800), ("reduce", 800),
        ("gather", 100), ("scatter", 700), ("all_to_all", 700), ("send_recv", 800),
    ],
)  # fmt: skip
def test_goldens(kind: Kind, sent: int) -> None:
    assert ring_bytes_sent(kind=kind, payload_bytes=800, ranks=8) == sent


def tables(ranks: int) -> st.SearchStrategy[list[list[int]]]:
    row = st.lists(st.integers(0, 99), min_size=ranks, max_size=ranks)
    return st.lists(row, min_size=ranks, max_size=ranks)


@given(st.integers(1, 7).flatmap(tables))
def test_unequal_pieces_are_conserved(table: list[list[int]]) -> None:
    moved = all_to_all_bytes(pieces_bytes=tuple(map(tuple, table)))
    assert sum(sent for sent, _ in moved) == sum(received for _, received in moved)
    total = sum(map(sum, table)) - sum(table[i][i] for i in range(len(table)))
    assert sum(sent for sent, _ in moved) == total


@given(ranks_of, st.integers(0, 500))
def test_equal_pieces_are_a_special_case(ranks: int, piece: int) -> None:
    moved = all_to_all_bytes(pieces_bytes=((piece,) * ranks,) * ranks)
    expected = ring_bytes_sent(kind="all_to_all", payload_bytes=piece * ranks, ranks=ranks)
    assert moved == ((expected, expected),) * ranks


@pytest.mark.parametrize(
    ("changed", "argument"),
    [
        ({"ranks": 0}, "ranks"), ({"ranks": -8}, "ranks"), ({"ranks": 2.0}, "ranks"),
        ({"payload_bytes": -1}, "payload_bytes"),
        ({"payload_bytes": 1e9}, "payload_bytes"), ({"payload_bytes": True}, "payload_bytes"), ({"rank": 8}, "rank"),
        ({"rank": -1}, "rank"), ({"root": 8}, "root"), ({"kind": "all_redude"}, "kind"),
        ({"kind": "all_gather", "payload_bytes": 801}, "payload_bytes"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_by_name_and_value(changed: dict[str, Any], argument: str) -> None:
    call: dict[str, Any] = {"kind": "all_reduce", "payload_bytes": 800, "ranks": 8, **changed}
    for function in (ring_bytes_sent, ring_bytes_received):
        with pytest.raises(FormulaError) as caught:
            function(**call)
        assert caught.value.argument == argument
        assert repr(changed[argument]) in caught.value.message


def test_kinds_without_a_tree_or_levels_are_refused() -> None:
    with pytest.raises(FormulaError, match="all_reduce, broadcast, reduce"):
        tree_bytes_sent(kind="all_gather", payload_bytes=8, ranks=8)
    with pytest.raises(FormulaError, match="gather"):
        hierarchical_bytes_sent(kind="gather", payload_bytes=8, ranks_per_node=4, nodes=2)
    with pytest.raises(FormulaError, match="divisible"):
        hierarchical_bytes_sent(kind="all_gather", payload_bytes=12, ranks_per_node=4, nodes=2)
    with pytest.raises(FormulaError, match="square"):
        all_to_all_bytes(pieces_bytes=((1, 2), (3,)))
    with pytest.raises(FormulaError, match="-1"):
        all_to_all_bytes(pieces_bytes=((1, -1), (3, 4)))
