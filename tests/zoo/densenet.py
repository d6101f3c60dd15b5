"""DenseNet: every layer sees the outputs of all layers before it."""

import torch
from torch import Tensor, nn

from zoo.layers import classifier

DENSENET_PLANS: dict[int, tuple[int, tuple[int, int, int, int]]] = {  # depth -> growth, blocks
    121: (32, (6, 12, 24, 16)),
    161: (48, (6, 12, 36, 24)),
    169: (32, (6, 12, 32, 32)),
    201: (32, (6, 12, 48, 32)),
}


def _norm_relu_conv(in_channels: int, out_channels: int, kernel_size: int) -> nn.Sequential:
    return nn.Sequential(
        nn.BatchNorm2d(in_channels),
        nn.ReLU(),
        nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False),
    )


class DenseLayer(nn.Module):
    """Add `growth` channels to what comes in."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_norm_relu_conv(channels, 4 * growth, 1), _norm_relu_conv(4 * growth, growth, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to (n, c + growth, h, w)."""
        return torch.cat((x, self.body(x)), dim=1)


def densenet(depth: int, num_classes: int = 1000) -> nn.Sequential:
    """Build DenseNet-121, 161, 169 or 201."""
    growth, plan = DENSENET_PLANS[depth]
    channels = 2 * growth
    layers: list[nn.Module] = [
        nn.Conv2d(3, channels, 7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
    ]
    for index, repeats in enumerate(plan):
        if index:
            layers += [_norm_relu_conv(channels, channels // 2, 1), nn.AvgPool2d(2, 2)]
            channels //= 2
        for _ in range(repeats):
            layers.append(DenseLayer(channels, growth))
            channels += growth
    return nn.Sequential(*layers, nn.BatchNorm2d(channels), nn.ReLU(), classifier(channels, num_classes))
