"""Layers that several families share."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn


def conv_norm(
    in_channels: int,
    out_channels: int,
    kernel_size: int | tuple[int, int],
    *,
    stride: int = 1,
    groups: int = 1,
    padding: int | tuple[int, int] | None = None,
    dilation: int = 1,
    activation: Callable[[], nn.Module] | None = nn.ReLU,
) -> nn.Sequential:
    """Build convolution without bias, batch norm, activation.

    The default padding keeps the size when the stride is 1.
    """
    if padding is None:
        if isinstance(kernel_size, int):
            padding = dilation * (kernel_size - 1) // 2
        else:
            padding = (kernel_size[0] // 2, kernel_size[1] // 2)
    layers: list[nn.Module] = [
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias=False),
        nn.BatchNorm2d(out_channels),
    ]
    if activation is not None:
        layers.append(activation())
    return nn.Sequential(*layers)


class SqueezeExcite(nn.Module):
    """Scale each channel by a gate computed from the mean over the image."""

    def __init__(
        self,
        channels: int,
        hidden: int,
        activation: Callable[[], nn.Module] = nn.ReLU,
        gate: Callable[[], nn.Module] = nn.Sigmoid,
    ) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, hidden, 1),
            activation(),
            nn.Conv2d(hidden, channels, 1),
            gate(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to the same shape."""
        out: Tensor = x * self.gate(x)
        return out


class Residual(nn.Module):
    """Compute `x + body(x)`."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape."""
        out: Tensor = x + self.body(x)
        return out


class ScaledDotProduct(nn.Module):
    """Attention proper, as a module, so that a forward hook sees queries, keys and values."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
        """Map q (..., heads, queries, d) and k, v (..., heads, keys, d) to the shape of q."""
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)


class MultiHeadAttention(nn.Module):
    """Self-attention over (batch, tokens, width) with one joint projection."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.attend = ScaledDotProduct()
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Keep the shape; `bias` is added to the scores."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        out: Tensor = self.out(self.attend(q, k, v, bias).transpose(1, 2).flatten(2))
        return out


def mlp(width: int, hidden: int) -> nn.Sequential:
    """Build the feed-forward half of a transformer block."""
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))


def classifier(width: int, num_classes: int = 1000, dropout: float = 0.0) -> nn.Sequential:
    """Build global average pooling, dropout, linear layer."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(width, num_classes))


def round_to_8(channels: float) -> int:
    """Round to a multiple of 8, never by more than 10 % downwards."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * channels else rounded + 8
