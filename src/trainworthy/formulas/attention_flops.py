"""FLOPs and bytes of attention: two products forward, four backward, five where a fused kernel forms the scores again.

``causal`` says how a causal mask is counted, which is where published figures differ by up to a factor of two:
``"full"`` counts the whole square (PaLM, Megatron-LM until 2024, torch.utils.flop_counter, every total of trainworthy),
``"half"`` half of it (FlashAttention's benchmarks, Megatron-Bridge), ``"exact"`` the pairs that the mask lets through.
"""

from __future__ import annotations

from typing import Literal

from trainworthy.errors import FormulaError
from trainworthy.formulas.arguments import require_one_of, require_whole

Causal = Literal["full", "half", "exact"]


def attention_pairs(*, queries: int, keys: int, causal: Causal = "full") -> float:
    """Count the pairs of a query and a key whose score is counted.

    With ``"exact"`` query i sees keys 0 to i + keys - queries, that is the mask's lower right corner is the last pair.

    Unit:     pairs
    Exact?    ``"exact"`` is; the others are conventions
    Source:   torch.nn.attention.bias.causal_lower_right

    >>> [attention_pairs(queries=4, keys=4, causal=causal) for causal in ("full", "half", "exact")]
    [16, 8.0, 10]

    Raises:
        FormulaError: If a size is negative, or if queries see no key at all in ``"exact"``.
    """
    require_whole(0, queries=queries, keys=keys)
    require_one_of(("full", "half", "exact"), causal=causal)
    if causal == "full":
        return queries * keys
    if causal == "half":
        return queries * keys / 2
    if keys < queries:
        raise FormulaError("keys", keys, f"at least queries = {queries} where the mask is causal")
    return queries * keys - queries * (queries - 1) // 2


def attention_flops(
    *, batch: int, heads: int, queries: int, keys: int, head_dim: int, value_dim: int | None = None,
    causal: Causal = "full",
) -> float:  # fmt: skip
    """Count FLOPs of attention forward: scores, and their product with the values.

    Heads that share keys and values (grouped-query attention) cost the same: ``heads`` are those of the queries. The
    softmax is not in it.

    Shapes:   q (batch, heads, queries, head_dim), k (..., keys, head_dim), v (..., keys, value_dim)
              -> (batch, heads, queries, value_dim)
    Unit:     FLOP
    Exact?    as `attention_pairs`
    Source:   torch.utils.flop_counter.sdpa_flop_count (torch 2.13)

    >>> attention_flops(batch=1, heads=12, queries=1024, keys=1024, head_dim=64)
    3221225472

    Raises:
        FormulaError: If a size is negative.
    """
    value_dim = _checked(batch, heads, head_dim, value_dim)
    pairs = attention_pairs(queries=queries, keys=keys, causal=causal)
    return 2 * batch * heads * pairs * (head_dim + value_dim)


def attention_backward_flops(
    *, batch: int, heads: int, queries: int, keys: int, head_dim: int, value_dim: int | None = None,
    causal: Causal = "full", kernel: Literal["fused", "unfused"] = "fused",
) -> float:  # fmt: skip
    """Count FLOPs of attention backward: gradients of queries, keys, values and probabilities.

    A fused kernel did not keep the probabilities and forms the scores again: 2.5 times the forward pass. An unfused one
    kept them: twice the forward pass.

    Shapes:   as `attention_flops`
    Unit:     FLOP
    Exact?    as `attention_pairs`
    Source:   Dao et al., "FlashAttention", 2022, algorithm 4; torch.utils.flop_counter.sdpa_backward_flop_count

    >>> shape = dict(batch=1, heads=12, queries=1024, keys=1024, head_dim=64)
    >>> [attention_backward_flops(**shape, kernel=kernel) / attention_flops(**shape) for kernel in ("fused", "unfused")]
    [2.5, 2.0]

    Raises:
        FormulaError: If a size is negative or the kernel is unknown.
    """
    value_dim = _checked(batch, heads, head_dim, value_dim)
    require_one_of(("fused", "unfused"), kernel=kernel)
    pairs = attention_pairs(queries=queries, keys=keys, causal=causal)
    again = head_dim if kernel == "fused" else 0
    return 2 * batch * heads * pairs * (2 * head_dim + 2 * value_dim + again)


def attention_bytes(
    *, batch: int, heads: int, queries: int, keys: int, head_dim: int, value_dim: int | None = None,
    kv_heads: int | None = None, bytes_per_element: int, kernel: Literal["fused", "unfused"] = "fused",
) -> int:  # fmt: skip
    """Count bytes of attention forward.

    Fused: queries, keys and values are read, the result and one float32 (log-sum-exp) a row are written. Unfused: the
    scores are written, read and written by the softmax, and read once more.

    Shapes:   as `attention_flops`, with ``kv_heads`` of keys and values
    Unit:     bytes
    Exact?    the least possible: a fused kernel reads keys and values again for each block of queries, mostly from
              cache; scaling, mask and dropout of an unfused one are further passes
    Source:   Dao et al. 2022, theorem 2 and algorithm 0

    >>> shape = dict(batch=1, heads=1, queries=1024, keys=1024, head_dim=64, bytes_per_element=2)
    >>> attention_bytes(**shape), attention_bytes(**shape, kernel="unfused")
    (528384, 8912896)

    Raises:
        FormulaError: If a size is negative or the kernel is unknown.
    """
    value_dim = _checked(batch, heads, head_dim, value_dim)
    kv_heads = heads if kv_heads is None else kv_heads
    require_whole(0, queries=queries, keys=keys, bytes_per_element=bytes_per_element, kv_heads=kv_heads)
    require_one_of(("fused", "unfused"), kernel=kernel)
    ends = heads * queries * (head_dim + value_dim) + kv_heads * keys * (head_dim + value_dim)
    if kernel == "fused":
        return batch * (ends * bytes_per_element + heads * queries * 4)
    return batch * (ends + 4 * heads * queries * keys) * bytes_per_element


def _checked(batch: int, heads: int, head_dim: int, value_dim: int | None) -> int:
    value_dim = head_dim if value_dim is None else value_dim
    require_whole(0, batch=batch)
    require_whole(1, heads=heads, head_dim=head_dim, value_dim=value_dim)
    return value_dim
