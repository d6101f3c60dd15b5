"""The block that all transformers here are made of."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from trainworthy.parts.attention import MultiHeadAttention
from trainworthy.parts.masks import Keep
from trainworthy.parts.module import TypedModule

NormPlace = Literal["before", "after"]
Activation = Literal["gelu", "gelu-tanh", "relu"]


class BlockOutput(NamedTuple):
    """What a block returns.

    Attributes:
        x: (B, T, width).
        weights: (B, H, T, T) of its self-attention; None if not asked for.
        memory_weights: (B, H, T, S) of its attention to the memory; None if not asked for or without memory.
    """

    x: Tensor
    weights: Tensor | None
    memory_weights: Tensor | None


class TransformerBlock(TypedModule):
    """Self-attention, attention to a memory where there is one, and a network of each token; each around a shortcut.

    Shapes:   x (B, T, width), memory (B, S, width) -> (B, T, width)
    Source:   Vaswani et al. 2017 (arXiv 1706.03762), figure 1, norm ``after``; Radford et al. 2019 (GPT-2),
              section 2.3, norm ``before``

    Args:
        width: Width of the tokens.
        heads: Number of heads.
        hidden: Width of the network of each token; None: 4 times ``width``.
        dropout: Share dropped of each branch and of the attention weights.
        norm: Whether the norm comes before each branch or after each sum.
        activation: ``gelu``, its approximation by tanh (GPT-2), or ``relu``.
        memory: Whether there is attention to a memory.
        eps: Added to the variance in the norms.

    >>> TransformerBlock(8, 2)(torch.zeros(1, 3, 8), weights=True).weights.shape
    torch.Size([1, 2, 3, 3])
    """

    def __init__(
        self, width: int, heads: int, *, hidden: int | None = None, dropout: float = 0.0, norm: NormPlace = "before",
        activation: Activation = "gelu", memory: bool = False, eps: float = 1e-5,
    ) -> None:  # fmt: skip
        super().__init__()
        self.before = norm == "before"
        self.attention = MultiHeadAttention(width, heads, dropout=dropout)
        self.attention_norm = nn.LayerNorm(width, eps=eps)
        self.memory_attention = MultiHeadAttention(width, heads, dropout=dropout) if memory else None
        self.memory_norm = nn.LayerNorm(width, eps=eps) if memory else None
        hidden = 4 * width if hidden is None else hidden
        self.expand, self.contract = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.activation: nn.Module = nn.ReLU() if activation == "relu" else _gelu(activation)
        self.network_norm = nn.LayerNorm(width, eps=eps)
        self.dropout, self.hidden_dropout = nn.Dropout(dropout), nn.Dropout(dropout if norm == "after" else 0.0)

    def forward(
        self, x: Tensor, memory: Tensor | None = None, *, mask: Keep | None = None, memory_mask: Keep | None = None,
        weights: bool = False,
    ) -> BlockOutput:  # fmt: skip
        """Run the block.

        Shapes:   mask broadcasts to (B, heads, T, T), memory_mask to (B, heads, T, S)
        """
        seen = self.attention(self.attention_norm(x) if self.before else x, mask=mask, weights=weights)
        x = x + self.dropout(seen.values)
        x = x if self.before else self.attention_norm(x)
        memory_weights = None
        if self.memory_attention is not None and self.memory_norm is not None:
            query = self.memory_norm(x) if self.before else x
            read = self.memory_attention(query, memory, mask=memory_mask, weights=weights)
            x, memory_weights = x + self.dropout(read.values), read.weights
            x = x if self.before else self.memory_norm(x)
        inner = self.activation(self.expand(self.network_norm(x) if self.before else x))
        x = x + self.dropout(self.contract(self.hidden_dropout(inner)))
        return BlockOutput(x if self.before else self.network_norm(x), seen.weights, memory_weights)


def sinusoids(size: int, width: int, *, device: torch.device | None = None) -> Tensor:
    """Return the fixed position code: sines in the even dimensions, cosines in the odd.

    Shapes:   -> (size, width), float32
    Source:   Vaswani et al. 2017, section 3.5

    >>> sinusoids(2, 2).round(decimals=3)
    tensor([[0.0000, 1.0000],
            [0.8410, 0.5400]])
    """
    places = torch.arange(size, device=device, dtype=torch.float32)[:, None]
    wave = torch.arange(width, device=device) // 2 * 2 / width
    angles = places / 10000**wave
    return torch.where(torch.arange(width, device=device) % 2 == 0, angles.sin(), angles.cos())


def _gelu(activation: str) -> nn.GELU:
    return nn.GELU(approximate="tanh" if activation == "gelu-tanh" else "none")
