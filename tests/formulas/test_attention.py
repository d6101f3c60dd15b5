"""Attention: shapes and masks against scaled_dot_product_attention and nn.MultiheadAttention."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.attention.bias import causal_lower_right, causal_upper_left

from formulas.strategies import shapes
from trainworthy.errors import ShapeError, UsageError
from trainworthy.formulas.attention import (
    attention_shapes,
    blind_queries,
    causal_mask,
    check_mask,
    joined_masks,
    padding_mask,
    window_mask,
)

small = st.integers(1, 5)


@settings(max_examples=200)
@given(b=small, lq=small, lk=small, groups=st.integers(1, 3), shared=st.integers(1, 3), d=small, dv=small)
def test_shapes_agree_with_torch(*, b: int, lq: int, lk: int, groups: int, shared: int, d: int, dv: int) -> None:
    found = attention_shapes(
        batch=b, queries=lq, keys=lk, heads=groups * shared, kv_heads=groups, head_dim=d, value_dim=dv
    )
    q, k, v = (torch.zeros(shape) for shape in (found.query, found.key, found.value))
    out = F.scaled_dot_product_attention(q, k, v, enable_gqa=shared > 1)
    assert tuple(out.shape) == found.output
    scores = q @ k.repeat_interleave(shared, dim=1).transpose(-2, -1)
    assert tuple(scores.shape) == found.scores
    assert found.heads_per_kv_head == shared
    assert found.cache_elements_per_token * b * lk == k.numel() + v.numel()


def test_published_models() -> None:
    # Llama-3 8B: 32 query heads of 128 and 8 key/value heads; Falcon-7B shares one; GPT-2 shares none.
    assert attention_shapes(batch=1, queries=8192, heads=32, kv_heads=8, head_dim=128).kind == "GQA"
    assert attention_shapes(batch=1, queries=2048, heads=71, kv_heads=1, head_dim=64).kind == "MQA"
    assert attention_shapes(batch=1, queries=1024, heads=12, head_dim=64).kind == "MHA"
    # Its cache in 2 bytes a number: 32 layers x 4 KiB = 128 KiB a token.
    llama = attention_shapes(batch=1, queries=1, heads=32, kv_heads=8, head_dim=128)
    assert llama.cache_elements_per_token * 2 * 32 == 128 * 1024


@settings(max_examples=150)
@given(shapes, st.tuples(small, small, small, small))
def test_masks_that_broadcast_are_those_that_torch_takes(mask: tuple[int, ...], scores: tuple[int, ...]) -> None:
    try:
        check_mask(mask=mask, scores=scores)
    except ShapeError:
        with pytest.raises(RuntimeError):
            torch.zeros(scores).masked_fill(torch.zeros(mask, dtype=torch.bool).expand(scores), 0)
    else:
        assert torch.zeros(scores).masked_fill(torch.zeros(mask, dtype=torch.bool), 0).shape == scores


def test_a_padding_mask_must_not_be_two_dimensional() -> None:
    with pytest.raises(ShapeError, match="does not broadcast"):
        check_mask(mask=(2, 7), scores=(2, 3, 5, 7))
    check_mask(mask=(5, 7), scores=(5, 3, 5, 7))  # it runs when B == Lq, and masks the wrong thing


@pytest.mark.filterwarnings("ignore:Lower right causal bias will produce NaNs")
@settings(max_examples=150)
@given(st.integers(1, 8), st.integers(1, 8))
def test_causal_masks_agree_with_torch(lq: int, lk: int) -> None:
    upper, lower = causal_mask(queries=lq, keys=lk), causal_mask(queries=lq, keys=lk, corner="lower-right")
    assert torch.tensor(upper).equal(torch.ones(lq, lk).tril().bool())
    assert torch.tensor(lower).equal(torch.ones(lq, lk).tril(lk - lq).bool())
    q, k, v = torch.randn(1, 1, lq, 4), torch.randn(1, 1, lk, 4), torch.randn(1, 1, lk, 4)
    is_causal = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    assert torch.allclose(is_causal, F.scaled_dot_product_attention(q, k, v, attn_mask=torch.tensor(upper)), atol=1e-6)
    for bias, ours in ((causal_upper_left(lq, lk), upper), (causal_lower_right(lq, lk), lower)):
        assert torch.tensor(ours).equal(bias._materialize().bool())


@settings(max_examples=150)
@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 4), st.integers(0, 4))
def test_windows(lq: int, lk: int, before: int, after: int) -> None:
    ours = torch.tensor(window_mask(queries=lq, keys=lk, before=before, after=after))
    ones = torch.ones(lq, lk)
    assert ours.equal((ones.tril(after) * ones.triu(-before)).bool())
    assert torch.tensor(window_mask(queries=lq, keys=lk, before=None, after=None)).all()
    wide = window_mask(queries=lq, keys=lk, before=lk + lq, after=0)
    assert wide == causal_mask(queries=lq, keys=lk)


@settings(max_examples=100)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=3))
def test_joined_masks_and_blind_queries(lengths: list[int]) -> None:
    keys = 5
    for visible in padding_mask(lengths=lengths, keys=keys):
        mask = joined_masks(mask=causal_mask(queries=keys), visible=visible)
        blind = blind_queries(mask=mask)
        scores = torch.zeros(keys, keys).masked_fill(~torch.tensor(mask), float("-inf"))
        assert blind == tuple(scores.softmax(-1).isnan().any(-1).nonzero().flatten().tolist())
        q = torch.ones(1, 1, keys, 4)
        out = F.scaled_dot_product_attention(q, q, q, attn_mask=torch.tensor(mask))
        assert tuple((out[0, 0] == 0).all(-1).nonzero().flatten().tolist()) == blind


def test_polarity_is_the_opposite_in_multihead_attention() -> None:
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(8, 1, batch_first=True, bias=False)
    x = torch.randn(1, 5, 8)
    seen = torch.tensor(causal_mask(queries=5))
    q, k, v = (x @ w.T for w in layer.in_proj_weight.chunk(3))
    ours = F.scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=seen)[0] @ layer.out_proj.weight.T
    theirs, _ = layer(x, x, x, attn_mask=~seen)
    assert torch.allclose(ours, theirs, atol=1e-6)
    flipped, _ = layer(x, x, x, attn_mask=seen.logical_not().logical_not())
    assert not torch.allclose(ours, flipped, equal_nan=True, atol=1e-3)


def test_refusals() -> None:
    with pytest.raises(ShapeError, match="32 query heads do not divide among 5"):
        attention_shapes(batch=1, queries=4, heads=32, kv_heads=5, head_dim=8)
    with pytest.raises(ShapeError, match="Sample 1 has 4 tokens"):
        padding_mask(lengths=[3, 4], keys=3)
    with pytest.raises(UsageError, match="corner"):
        causal_mask(queries=2, corner="middle")  # type: ignore[arg-type]  # that is the question
    with pytest.raises(UsageError, match="head_dim must be at least 1"):
        attention_shapes(batch=1, queries=4, heads=2, head_dim=0)
