"""Attention: fused where nobody looks at the weights, and the same numbers with the weights where somebody does."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from trainworthy.errors import ShapeError, UsageError
from trainworthy.parts.masks import Keep
from trainworthy.parts.module import TypedModule


class Attended(NamedTuple):
    """What attention returns.

    Attributes:
        values: (B, H, Q, D) of :func:`attend`, (B, Q, width) of :class:`MultiHeadAttention`.
        weights: (B, H, Q, K), rows sum to 1; None if they were not asked for.
    """

    values: Tensor
    weights: Tensor | None


def attend(
    query: Tensor, key: Tensor, value: Tensor, *, mask: Keep | None = None, dropout: float = 0.0, weights: bool = False
) -> Attended:
    """Attend: ``softmax(q k^T / sqrt(D)) v``.

    Without ``weights`` it is ``F.scaled_dot_product_attention``, which never makes the (Q, K) matrix where a fused
    kernel runs; with them it is written out, and costs that matrix. A row in which nothing may be attended gives 0.

    Shapes:   query (B, H, Q, D), key and value (B, H, K, D), mask broadcasts to (B, H, Q, K)
    Source:   Vaswani et al. 2017 (arXiv 1706.03762), equation 1

    >>> import torch
    >>> x = torch.eye(2).reshape(1, 1, 2, 2)
    >>> attend(x, x, x, weights=True).weights.round(decimals=2)
    tensor([[[[0.6700, 0.3300],
              [0.3300, 0.6700]]]])
    """
    if not weights:
        return Attended(functional.scaled_dot_product_attention(query, key, value, mask, dropout_p=dropout), None)
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    shares = scores.softmax(dim=-1)
    if mask is not None:  # softmax over nothing is NaN; fused attention says 0
        shares = shares.masked_fill(~mask.any(dim=-1, keepdim=True), 0.0)
    return Attended(functional.dropout(shares, dropout, training=dropout > 0) @ value, shares)


class MultiHeadAttention(TypedModule):
    """Attention with several heads, over itself or over a memory.

    The projections of query, key and value are three Linear layers, so that tensor parallelism can split each by
    columns; ``out`` is split by rows.

    Args:
        width: Width of the tokens.
        heads: Number of heads; each has ``width / heads`` dimensions.
        dropout: Share of the attention weights that is dropped in training.
        bias: Whether the four projections have a bias.
        memory_width: Width of the memory where it is not ``width``.

    Raises:
        UsageError: If ``width`` is not a multiple of ``heads``.

    >>> import torch
    >>> attention = MultiHeadAttention(8, 2)
    >>> values, weights = attention(torch.zeros(1, 3, 8), weights=True)
    >>> values.shape, weights.shape
    (torch.Size([1, 3, 8]), torch.Size([1, 2, 3, 3]))
    """

    def __init__(
        self, width: int, heads: int, *, dropout: float = 0.0, bias: bool = True, memory_width: int | None = None
    ) -> None:
        super().__init__()
        if width % heads:
            raise UsageError(f"width is {width}; it must be a multiple of heads (={heads}).")
        self.head_width, self.dropout = width // heads, dropout
        source = memory_width or width
        self.query = nn.Linear(width, width, bias=bias)
        self.key = nn.Linear(source, width, bias=bias)
        self.value = nn.Linear(source, width, bias=bias)
        self.out = nn.Linear(width, width, bias=bias)

    def forward(
        self, x: Tensor, memory: Tensor | None = None, *, mask: Keep | None = None, weights: bool = False
    ) -> Attended:
        """Attend from ``x`` to ``memory``, or to itself.

        Shapes:   x (B, Q, width), memory (B, K, memory width), mask broadcasts to (B, heads, Q, K) -> (B, Q, width)

        Raises:
            ShapeError: If the mask has the batch where the heads belong.
        """
        source = x if memory is None else memory
        if mask is not None and mask.dim() == 3:
            raise ShapeError(
                f"The mask has shape {tuple(mask.shape)}; its batch would be taken for the heads.",
                fix="Give (B, 1, Q, K), such as attention_keep() returns.",
            )
        found = attend(
            self._split(self.query(x)), self._split(self.key(source)), self._split(self.value(source)),
            mask=mask, dropout=self.dropout if self.training else 0.0, weights=weights,
        )  # fmt: skip
        joined = found.values.transpose(1, 2).flatten(2)
        return Attended(self.out(joined), found.weights)

    def _split(self, x: Tensor) -> Tensor:  # heads are counted from the shape: a tensor-parallel rank holds a share
        return x.reshape(*x.shape[:-1], -1, self.head_width).transpose(1, 2)
