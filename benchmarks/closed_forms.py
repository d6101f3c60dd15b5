"""Multiply-adds of the compared models, written down by hand; nothing here looks at a model.

What is counted: the multiply-adds of dot products (convolutions, matrix products, both products of attention over the
full square, recurrent layers). A training step needs, beside the forward pass, as many again for the gradient of each
weight and as many again for the gradient of each input that something before it wants. The first layer's input is
data: it wants none. Attention has no weights: both its products have two gradients. What a fused kernel computes
again in its backward pass is no part of this (see README.md, "conventions").
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple


class Macs(NamedTuple):
    """Multiply-adds of the forward pass, and of forward and backward together."""

    forward: int
    step: int


def of(forward: int, *, not_wanted: int = 0) -> Macs:
    """Return the forward pass and the step; ``not_wanted`` are the multiply-adds whose input gradient nobody wants."""
    return Macs(forward, 3 * forward - not_wanted)


def conv(n: int, c_in: int, c_out: int, kernel: tuple[int, ...], positions: tuple[int, ...], groups: int = 1) -> int:
    """Every weight meets every position: of the output, or of the input if the convolution is transposed."""
    return n * prod(positions) * c_out * (c_in // groups) * prod(kernel)


def grouped_net() -> Macs:
    """8 x 32 x 56 x 56: grouped 3x3 to 64, depthwise 3x3 stride 2, pointwise to 128, grouped dilated 3x3."""
    first = conv(8, 32, 64, (3, 3), (56, 56), groups=8)
    rest = (
        conv(8, 64, 64, (3, 3), (28, 28), groups=64)
        + conv(8, 64, 128, (1, 1), (28, 28))
        + conv(8, 128, 128, (3, 3), (28, 28), groups=4)
    )
    return of(first + rest, not_wanted=first)


def transposed_net() -> Macs:
    """4 x 64 x 14 x 14: transposed 4x4 stride 2 to 32, grouped transposed 2x2 stride 2 to 16, 3x3 to 3."""
    first = conv(4, 64, 32, (4, 4), (14, 14))
    rest = conv(4, 32, 16, (2, 2), (28, 28), groups=4) + conv(4, 16, 3, (3, 3), (56, 56))
    return of(first + rest, not_wanted=first)


def conv3d_net() -> Macs:
    """2 x 3 x 16 x 32 x 32: 3x3x3 to 16, then 3x3x3 stride 2 to 32."""
    first = conv(2, 3, 16, (3, 3, 3), (16, 32, 32))
    return of(first + conv(2, 16, 32, (3, 3, 3), (8, 16, 16)), not_wanted=first)


def encoder(n: int = 4, tokens: int = 128, width: int = 256, hidden: int = 1024, layers: int = 2) -> Macs:
    """``nn.TransformerEncoder`` over data: projections 4 d^2, feed-forward 2 d f, attention 2 t d a token."""
    rows = n * tokens
    forward = layers * rows * (4 * width**2 + 2 * width * hidden + 2 * tokens * width)
    return of(forward, not_wanted=rows * 3 * width**2)


def gpt2(n: int = 1, tokens: int = 1024, width: int = 768, layers: int = 12, vocabulary: int = 50257) -> Macs:
    """GPT-2: 12 d^2 a token and layer, attention 2 t d, output layer d V."""
    return of(n * tokens * (layers * (12 * width**2 + 2 * tokens * width) + width * vocabulary))


def llama(
    n: int = 1, tokens: int = 512, width: int = 1024, hidden: int = 2816, layers: int = 8, heads: int = 16,
    kv_heads: int = 4, vocabulary: int = 32000,
) -> Macs:  # fmt: skip
    """Llama with grouped queries: q and o 2 d^2, k and v 2 d d_kv, gated feed-forward 3 d f, attention 2 t d."""
    kv = width * kv_heads // heads
    a_token = 2 * width**2 + 2 * width * kv + 3 * width * hidden + 2 * tokens * width
    return of(n * tokens * (layers * a_token + width * vocabulary))


def lstm(
    n: int = 16, tokens: int = 64, width: int = 128, hidden: int = 256, layers: int = 2, classes: int = 10
) -> Macs:
    """LSTM over embeddings: every weight meets every token of every sample, also the first token's empty state."""
    cells = sum(4 * hidden * ((width if layer == 0 else hidden) + hidden) for layer in range(layers))
    return of(n * tokens * cells + n * hidden * classes)
