"""Masks: both polarities against torch's own modules, padding on both sides, nothing that sees nothing."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from trainworthy.errors import ShapeError, UsageError
from trainworthy.parts.masks import (
    Keep,
    Side,
    additive,
    attention_keep,
    causal_keep,
    hide,
    keep,
    left_pad_sequence,
    lengths_keep,
    pad,
    positions_of,
    token_keep,
)

lengths = st.lists(st.integers(1, 6), min_size=1, max_size=4)
sides = st.sampled_from(["left", "right"])


@given(sizes=lengths, side=sides, causal=st.booleans(), extra=st.integers(0, 2))
def test_the_mask_is_what_two_loops_say(sizes: list[int], side: Side, causal: bool, extra: int) -> None:
    size = max(sizes) + extra
    real = lengths_keep(torch.tensor(sizes), size, side)
    mask = attention_keep(query_size=size, key_keep=real, causal=causal)
    assert mask is not None
    assert mask.shape == (len(sizes), 1, size, size)
    for row, length in enumerate(sizes):
        first, last = (0, length) if side == "right" else (size - length, size)
        for query in range(size):
            for key in range(size):
                seen = first <= key < last and (not causal or key <= query)
                assert bool(mask[row, 0, query, key]) == (seen or (causal and key == query))


@given(sizes=lengths, side=sides)
def test_no_query_sees_nothing(sizes: list[int], side: Side) -> None:
    mask = attention_keep(
        query_size=max(sizes), key_keep=lengths_keep(torch.tensor(sizes), max(sizes), side), causal=True
    )
    assert mask is not None
    assert bool(mask.any(dim=-1).all())


def test_queries_are_the_last_of_more_keys() -> None:
    mask = attention_keep(query_size=2, key_keep=Keep(torch.tensor([[False, True, True, True]])), causal=True)
    assert mask is not None
    assert mask[0, 0].int().tolist() == [[0, 1, 1, 0], [0, 1, 1, 1]]
    assert causal_keep(2, past=2).int().tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]


def test_causal_is_torchs_own_mask_the_other_way_round() -> None:
    torchs = nn.Transformer.generate_square_subsequent_mask(5)
    assert torch.equal(additive(causal_keep(5)), torchs)
    assert torch.equal(hide(causal_keep(5)), torchs == float("-inf"))


@given(sizes=lengths)
def test_going_there_and_back_changes_nothing(sizes: list[int]) -> None:
    real = lengths_keep(torch.tensor(sizes), 6)
    assert torch.equal(keep(hide(real)), real)


@given(sizes=lengths, side=sides)
def test_positions_count_the_real_tokens_on_either_side(sizes: list[int], side: Side) -> None:
    real = lengths_keep(torch.tensor(sizes), max(sizes), side)
    places = positions_of(real)
    for row, length in enumerate(sizes):
        assert places[row][real[row]].tolist() == list(range(length))


@given(sizes=lengths, value=st.integers(-3, 3), batch_first=st.booleans())
def test_left_padding_is_right_padding_of_reversed_sequences(sizes: list[int], value: int, batch_first: bool) -> None:
    rows = [torch.arange(10, 10 + size) for size in sizes]
    turned = pad_sequence([row.flip(0) for row in rows], batch_first=True, padding_value=value).flip(1)
    expected = turned if batch_first else turned.T
    assert torch.equal(left_pad_sequence(rows, batch_first=batch_first, padding_value=value), expected)


def test_padding_keeps_further_dimensions() -> None:
    stacked = pad([torch.ones(1, 2), torch.ones(3, 2)], value=-1.0)
    assert stacked.shape == (2, 3, 2)
    assert stacked[0, 1:].tolist() == [[-1.0, -1.0], [-1.0, -1.0]]


def test_the_padding_token_is_found() -> None:
    assert token_keep(torch.tensor([[0, 5, 0]]), pad=0).tolist() == [[False, True, False]]


def test_nothing_hidden_is_no_mask() -> None:
    assert attention_keep(query_size=3) is None


def test_what_does_not_go_together_is_said() -> None:
    with pytest.raises(ShapeError, match=r"key_keep has shape \(2,\)"):
        attention_keep(query_size=2, key_keep=Keep(torch.ones(2, dtype=torch.bool)))
    with pytest.raises(ShapeError, match="3 queries cannot be the last of 2 keys"):
        attention_keep(query_size=3, key_keep=Keep(torch.ones(1, 2, dtype=torch.bool)), causal=True)
    with pytest.raises(UsageError, match="no sequence"):
        pad([])
    with pytest.raises(UsageError, match="side 'middle'"):
        lengths_keep(torch.tensor([1]), 2, "middle")  # type: ignore[arg-type]
