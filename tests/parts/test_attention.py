"""Attention: with and without visible weights, against scaled_dot_product_attention and nn.MultiheadAttention."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from trainworthy.errors import ShapeError, UsageError
from trainworthy.parts.attention import MultiHeadAttention, attend
from trainworthy.parts.masks import Keep, attention_keep, hide, lengths_keep


@given(seed=st.integers(0, 2**31), queries=st.integers(1, 5), keys=st.integers(1, 5), masked=st.booleans())
def test_visible_weights_give_the_fused_result(seed: int, queries: int, keys: int, masked: bool) -> None:
    torch.manual_seed(seed)
    q, k, v = (torch.randn(2, 3, size, 4, dtype=torch.float64, requires_grad=True) for size in (queries, keys, keys))
    mask = Keep(torch.rand(2, 1, queries, keys) < 0.7) if masked else None
    seen, fused = attend(q, k, v, mask=mask, weights=True), F.scaled_dot_product_attention(q, k, v, mask)
    assert seen.weights is not None
    torch.testing.assert_close(seen.values, fused)
    torch.testing.assert_close(seen.weights @ v, fused)
    for mine, torchs in zip(
        torch.autograd.grad(seen.values.sum(), (q, k, v)), torch.autograd.grad(fused.sum(), (q, k, v)), strict=True
    ):
        torch.testing.assert_close(mine, torchs)


def test_rows_sum_to_one_or_see_nothing() -> None:
    x = torch.randn(1, 1, 2, 4)
    shares = attend(x, x, x, mask=Keep(torch.tensor([[True, True], [False, False]])), weights=True).weights
    assert shares is not None
    assert shares.sum(dim=-1).flatten().tolist() == pytest.approx([1.0, 0.0])


def copy_of(theirs: nn.MultiheadAttention, mine: MultiHeadAttention) -> None:
    for layer, weight, bias in zip(
        (mine.query, mine.key, mine.value), theirs.in_proj_weight.chunk(3), theirs.in_proj_bias.chunk(3), strict=True
    ):
        layer.load_state_dict({"weight": weight, "bias": bias})
    mine.out.load_state_dict(theirs.out_proj.state_dict())


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("side", ["left", "right"])
def test_heads_are_those_of_torch(causal: bool, side: str) -> None:
    torch.manual_seed(0)
    theirs, mine = nn.MultiheadAttention(8, 2, batch_first=True), MultiHeadAttention(8, 2)
    nn.init.normal_(theirs.in_proj_bias)
    copy_of(theirs, mine)
    x = torch.randn(2, 5, 8)
    real = lengths_keep(torch.tensor([3, 5]), 5, side)  # type: ignore[arg-type]
    mask = attention_keep(query_size=5, key_keep=real, causal=causal)
    assert mask is not None
    got = mine(x, mask=mask, weights=True)
    want, shares = theirs(x, x, x, attn_mask=hide(mask).expand(2, 2, 5, 5).flatten(0, 1), average_attn_weights=False)
    torch.testing.assert_close(got.values, want)
    torch.testing.assert_close(got.weights, shares)
    torch.testing.assert_close(mine(x, mask=mask).values, want)
    if not causal:  # torch's other argument for the same
        torch.testing.assert_close(theirs(x, x, x, key_padding_mask=hide(real))[0], want)


def test_memory_of_another_width() -> None:
    attention = MultiHeadAttention(8, 2, memory_width=6)
    assert attention(torch.zeros(1, 3, 8), torch.zeros(1, 4, 6)).values.shape == (1, 3, 8)


def test_dropout_only_in_training() -> None:
    attention, x = MultiHeadAttention(8, 2, dropout=0.9), torch.randn(1, 6, 8)
    assert not torch.equal(attention(x).values, attention(x).values)
    attention.eval()
    assert torch.equal(attention(x).values, attention(x).values)


def test_mistakes_are_said() -> None:
    with pytest.raises(UsageError, match=r"width is 7; it must be a multiple of heads \(=2\)"):
        MultiHeadAttention(7, 2)
    with pytest.raises(ShapeError, match="taken for the heads"):
        MultiHeadAttention(8, 2)(torch.zeros(2, 3, 8), mask=Keep(torch.ones(2, 3, 3, dtype=torch.bool)))
