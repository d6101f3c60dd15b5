"""Image models in widths that the tests' zoo does not have, and those of NVIDIA's examples."""

from __future__ import annotations

from typing import Any

from torch import nn

from zoo.layers import classifier, conv_norm
from zoo.mobile import MNASNET, ShuffleUnit, inverted_residual


def round_8(channels: float) -> int:
    """Round as MNASNet does: to a multiple of 8, at most 10 % down."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def mnasnet(width: float) -> nn.Sequential:
    """Build MNASNet-B1 of a width multiplier, as torchvision has it."""
    stem = round_8(32 * width)
    layers: list[Any] = [conv_norm(3, stem, 3, stride=2, activation=nn.ReLU)]
    channels = stem
    for expansion, out, repeats, stride, kernel in MNASNET:
        out_channels = round_8(out * width)
        for number in range(repeats):
            layers.append(
                inverted_residual(channels, expansion * channels, out_channels, kernel_size=kernel,
                                  stride=stride if number == 0 else 1, activation=nn.ReLU, squeeze=None)
            )  # fmt: skip
            channels = out_channels
    return nn.Sequential(*layers, conv_norm(channels, 1280, 1, activation=nn.ReLU), classifier(1280, dropout=0.2))


_SHUFFLE = {
    0.5: (48, 96, 192, 1024),
    1.0: (116, 232, 464, 1024),
    1.5: (176, 352, 704, 1024),
    2.0: (244, 488, 976, 2048),
}


def shufflenet(width: float) -> nn.Sequential:
    """Build ShuffleNetV2 of a width."""
    layers: list[Any] = [conv_norm(3, 24, 3, stride=2), nn.MaxPool2d(3, 2, 1)]
    channels = 24
    *stages, head = _SHUFFLE[width]
    for out, repeats in zip(stages, (4, 8, 4), strict=True):
        for number in range(repeats):
            layers.append(ShuffleUnit(channels, out, stride=2 if number == 0 else 1))
            channels = out
    return nn.Sequential(*layers, conv_norm(channels, head, 1), classifier(head))
