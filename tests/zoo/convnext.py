"""ConvNeXt."""

import torch
from torch import Tensor, nn

from zoo.layers import mlp

CONVNEXT_DEPTHS: dict[str, tuple[int, int, int, int]] = {
    "tiny": (3, 3, 9, 3),
    "small": (3, 3, 27, 3),
}


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of (n, c, h, w)."""

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXtBlock(nn.Module):
    """Depthwise 7x7, layer norm, MLP over channels, scaled residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.mlp = mlp(width, 4 * width)
        self.scale = nn.Parameter(torch.full((width,), 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape."""
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        out: Tensor = x + (self.scale * self.mlp(y)).permute(0, 3, 1, 2)
        return out


def convnext(size: str, num_classes: int = 1000) -> nn.Sequential:
    """Build ConvNeXt "tiny" or "small"."""
    layers: list[nn.Module] = [nn.Conv2d(3, 96, 4, stride=4), ChannelNorm(96, eps=1e-6)]
    width = 96
    for index, repeats in enumerate(CONVNEXT_DEPTHS[size]):
        if index:
            layers += [ChannelNorm(width, eps=1e-6), nn.Conv2d(width, 2 * width, 2, stride=2)]
            width *= 2
        layers += [ConvNeXtBlock(width) for _ in range(repeats)]
    return nn.Sequential(
        *layers,
        nn.AdaptiveAvgPool2d(1),
        ChannelNorm(width, eps=1e-6),
        nn.Flatten(),
        nn.Linear(width, num_classes),
    )
