"""Attention: shapes of queries, keys, values, scores and output, and masks with their polarity.

Letters: B batch, Hq query heads, Hkv key/value heads, Lq queries, Lk keys, D head size, Dv value head size. Masks here
say True where a query may look at a key, as ``scaled_dot_product_attention`` wants it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from trainworthy.errors import ShapeError, UsageError
from trainworthy.formulas.broadcast import broadcast_shape
from trainworthy.formulas.checks import Shape, shape_text, whole

Mask = tuple[tuple[bool, ...], ...]
Corner = Literal["upper-left", "lower-right"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionShapes:
    """Shapes of one attention layer.

    Attributes:
        query: (B, Hq, Lq, D).
        key: (B, Hkv, Lk, D).
        value: (B, Hkv, Lk, Dv).
        scores: (B, Hq, Lq, Lk); a fused kernel never holds it in memory.
        output: (B, Hq, Lq, Dv).
        heads_per_kv_head: Query heads that share one key/value head.
        kind: MHA if every query head has its own, MQA if all share one, else GQA.
        cache_elements_per_token: Elements of keys and values kept for one token of one sample and layer.
    """

    query: Shape
    key: Shape
    value: Shape
    scores: Shape
    output: Shape
    heads_per_kv_head: int
    kind: Literal["MHA", "GQA", "MQA"]
    cache_elements_per_token: int


def attention_shapes(
    *, batch: int, queries: int, keys: int | None = None, heads: int, kv_heads: int | None = None, head_dim: int,
    value_dim: int | None = None,
) -> AttentionShapes:  # fmt: skip
    """Return the shapes of multi-head, grouped-query or multi-query attention.

    Shapes:   q (B, Hq, Lq, D), k (B, Hkv, Lk, D), v (B, Hkv, Lk, Dv) -> scores (B, Hq, Lq, Lk), out (B, Hq, Lq, Dv)
    Exact?    yes
    Source:   torch.nn.functional.scaled_dot_product_attention (torch 2.13); Vaswani et al. 2017, section 3.2.2;
              Shazeer 2019 (arXiv 1911.02150) for MQA; Ainslie et al. 2023 (arXiv 2305.13245) for GQA

    >>> attention_shapes(batch=1, queries=4096, heads=32, kv_heads=8, head_dim=128).kind
    'GQA'
    >>> attention_shapes(batch=2, queries=5, keys=7, heads=3, head_dim=4).scores
    (2, 3, 5, 7)

    Raises:
        ShapeError: If query heads do not divide by key/value heads.
        UsageError: If a number is no size.
    """
    batch, heads = whole("batch", batch), whole("heads", heads, minimum=1)
    groups = heads if kv_heads is None else whole("kv_heads", kv_heads, minimum=1)
    lq, d = whole("queries", queries), whole("head_dim", head_dim, minimum=1)
    lk = lq if keys is None else whole("keys", keys)
    dv = d if value_dim is None else whole("value_dim", value_dim, minimum=1)
    if heads % groups:
        raise ShapeError(
            f"{heads} query heads do not divide among {groups} key/value heads.",
            fix="Each key/value head serves equally many query heads.",
        )
    return AttentionShapes(
        query=(batch, heads, lq, d), key=(batch, groups, lk, d), value=(batch, groups, lk, dv),
        scores=(batch, heads, lq, lk), output=(batch, heads, lq, dv), heads_per_kv_head=heads // groups,
        kind="MHA" if groups == heads else "MQA" if groups == 1 else "GQA",
        cache_elements_per_token=groups * (d + dv),
    )  # fmt: skip


def check_mask(*, mask: Sequence[int], scores: Sequence[int]) -> None:
    """Check that a mask broadcasts to the scores.

    (Lq, Lk), (B, 1, 1, Lk), (B, 1, Lq, Lk) and (B, Hq, Lq, Lk) do. (B, Lk), a padding mask as it comes from a
    tokenizer, does not, or worse: it does when B equals Lq, and masks queries by the padding of other samples.

    Exact?    yes
    Source:   docs of scaled_dot_product_attention: "shape must be broadcastable to the shape of attention weights"

    >>> check_mask(mask=(2, 1, 1, 7), scores=(2, 3, 5, 7))
    >>> check_mask(mask=(2, 7), scores=(2, 3, 5, 7))
    Traceback (most recent call last):
    ...
    trainworthy.errors.ShapeError: A mask (2, 7) does not broadcast to the scores (2, 3, 5, 7).
      fix:   A padding mask (B, Lk) becomes mask[:, None, None, :].

    Raises:
        ShapeError: If it does not.
    """
    try:
        fits = broadcast_shape(shapes=[mask, scores]) == tuple(scores)
    except ShapeError:
        fits = False
    if not fits:
        raise ShapeError(
            f"A mask {shape_text(mask)} does not broadcast to the scores {shape_text(scores)}.",
            fix="A padding mask (B, Lk) becomes mask[:, None, None, :].",
        )


def causal_mask(*, queries: int, keys: int | None = None, corner: Corner = "upper-left") -> Mask:
    """Let query i see keys up to its own.

    With as many queries as keys the corner does not matter. With fewer, as when decoding with a cache, "upper-left"
    (what ``is_causal=True`` does) lets the first query see only the first key; "lower-right" lets the last see all.

    Shapes:   (Lq, Lk)
    Exact?    yes
    Source:   docs of scaled_dot_product_attention, ``torch.ones(L, S).tril()``; torch.nn.attention.bias

    >>> causal_mask(queries=2, keys=3)
    ((True, False, False), (True, True, False))
    >>> causal_mask(queries=2, keys=3, corner="lower-right")
    ((True, True, False), (True, True, True))
    """
    return window_mask(queries=queries, keys=keys, corner=corner, before=None, after=0)


def window_mask(
    *, queries: int, keys: int | None = None, corner: Corner = "upper-left", before: int | None, after: int | None
) -> Mask:
    """Let a query see ``before`` keys before its own and ``after`` behind; None is all of them.

    A causal sliding window of w tokens, its own included, is ``before=w - 1, after=0``.

    Shapes:   (Lq, Lk)
    Exact?    yes
    Source:   Beltagy et al. 2020, Longformer (arXiv 2004.05150), section 3.1; flash-attn's ``window_size``

    >>> window_mask(queries=3, before=1, after=0)
    ((True, False, False), (True, True, False), (False, True, True))
    """
    lq = whole("queries", queries)
    lk = lq if keys is None else whole("keys", keys)
    if corner not in ("upper-left", "lower-right"):
        raise UsageError(f"corner must be 'upper-left' or 'lower-right', got {corner!r}.")
    shift = lk - lq if corner == "lower-right" else 0
    low = None if before is None else whole("before", before)
    high = None if after is None else whole("after", after)
    return tuple(
        tuple(
            (low is None or key >= query + shift - low) and (high is None or key <= query + shift + high)
            for key in range(lk)
        )
        for query in range(lq)
    )


def padding_mask(*, lengths: Sequence[int], keys: int) -> Mask:
    """Let every query of a sample see the keys that are not padding.

    Shapes:   lengths (B,) -> (B, Lk); give it to attention as (B, 1, 1, Lk)
    Exact?    yes
    Source:   padding on the right, as tokenizers do by default

    >>> padding_mask(lengths=[3, 1], keys=3)
    ((True, True, True), (True, False, False))

    Raises:
        ShapeError: If a sample is longer than there are keys.
    """
    for at, length in enumerate(lengths):
        if whole("length", length) > keys:
            raise ShapeError(f"Sample {at} has {length} tokens, but there are only {keys} keys.")
    return tuple(tuple(key < length for key in range(keys)) for length in lengths)


def joined_masks(*, mask: Mask, visible: Sequence[bool]) -> Mask:
    """Join a mask of (Lq, Lk) with the padding of one sample, (Lk,): a key is seen if both say so.

    Exact?    yes
    Source:   logical and

    >>> joined_masks(mask=causal_mask(queries=2), visible=[False, True])
    ((False, False), (False, True))
    """
    return tuple(tuple(a and b for a, b in zip(row, visible, strict=True)) for row in mask)


def blind_queries(*, mask: Mask) -> tuple[int, ...]:
    """List the queries that see no key; softmax over nothing is NaN (0 / 0), unless the kernel sets it to 0.

    Exact?    yes
    Source:   softmax of a row of -inf; scaled_dot_product_attention returns 0 for such rows (torch 2.13)

    >>> blind_queries(mask=((False, False), (False, True)))
    (0,)
    """
    return tuple(at for at, row in enumerate(mask) if not any(row))


# Who means what by True, 1 or 0 in a mask.
POLARITY: tuple[tuple[str, str, str], ...] = (
    ("scaled_dot_product_attention(attn_mask=bool)", "True", "may look"),
    ("scaled_dot_product_attention(attn_mask=float)", "0, -inf", "is added"),
    ("nn.MultiheadAttention(attn_mask=bool)", "True", "must NOT look"),
    ("nn.MultiheadAttention(key_padding_mask=bool)", "True", "is padding"),
    ("nn.TransformerEncoder(src_key_padding_mask=bool)", "True", "is padding"),
    ("transformers: attention_mask", "1", "is no padding"),
)
