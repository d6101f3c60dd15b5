"""MobileNetV2, MobileNetV3, MNASNet, EfficientNet (all inverted residuals) and ShuffleNetV2."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from zoo.layers import Residual, SqueezeExcite, classifier, conv_norm, round_to_8

Activation = Callable[[], nn.Module]


def inverted_residual(
    in_channels: int,
    expanded: int,
    out_channels: int,
    *,
    kernel_size: int,
    stride: int,
    activation: Activation,
    squeeze: nn.Module | None = None,
) -> nn.Module:
    """Build 1x1 expand (left out when nothing expands), depthwise, squeeze-excite, linear 1x1."""
    layers: list[nn.Module] = []
    if expanded != in_channels:
        layers.append(conv_norm(in_channels, expanded, 1, activation=activation))
    layers.append(conv_norm(expanded, expanded, kernel_size, stride=stride, groups=expanded, activation=activation))
    if squeeze is not None:
        layers.append(squeeze)
    layers.append(conv_norm(expanded, out_channels, 1, activation=None))
    body = nn.Sequential(*layers)
    return Residual(body) if stride == 1 and in_channels == out_channels else body


# expansion, channels, repeats, stride, kernel
MOBILENET_V2 = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 32, 3, 2, 3),
    (6, 64, 4, 2, 3),
    (6, 96, 3, 1, 3),
    (6, 160, 3, 2, 3),
    (6, 320, 1, 1, 3),
)
MNASNET = (
    (1, 16, 1, 1, 3),
    (3, 24, 3, 2, 3),
    (3, 40, 3, 2, 5),
    (6, 80, 3, 2, 5),
    (6, 96, 2, 1, 3),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
EFFICIENTNET_B0 = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)


def _from_plan(
    plan: tuple[tuple[int, int, int, int, int], ...],
    *,
    activation: Activation,
    squeeze_excite: bool,
    num_classes: int,
) -> nn.Sequential:
    """Build stem (32), the plan, 1x1 to 1280 channels, classifier."""
    layers: list[nn.Module] = [conv_norm(3, 32, 3, stride=2, activation=activation)]
    channels = 32
    for expansion, width, repeats, stride, kernel_size in plan:
        for number in range(repeats):
            expanded = expansion * channels
            squeeze = None
            if squeeze_excite:
                squeeze = SqueezeExcite(expanded, max(1, channels // 4), nn.SiLU)
            layers.append(
                inverted_residual(
                    channels,
                    expanded,
                    width,
                    kernel_size=kernel_size,
                    stride=stride if number == 0 else 1,
                    activation=activation,
                    squeeze=squeeze,
                )
            )
            channels = width
    layers.append(conv_norm(channels, 1280, 1, activation=activation))
    return nn.Sequential(*layers, classifier(1280, num_classes, dropout=0.2))


def mobilenet_v2(num_classes: int = 1000) -> nn.Sequential:
    """Build MobileNetV2 of width 1.0."""
    return _from_plan(MOBILENET_V2, activation=nn.ReLU6, squeeze_excite=False, num_classes=num_classes)


def mnasnet(num_classes: int = 1000) -> nn.Sequential:
    """Build MNASNet-B1 of depth multiplier 1.0."""
    return _from_plan(MNASNET, activation=nn.ReLU, squeeze_excite=False, num_classes=num_classes)


def efficientnet_b0(num_classes: int = 1000) -> nn.Sequential:
    """Build EfficientNet-B0."""
    return _from_plan(EFFICIENTNET_B0, activation=nn.SiLU, squeeze_excite=True, num_classes=num_classes)


# kernel, expanded, out, squeeze-excite, hard-swish, stride
MOBILENET_V3: dict[str, tuple[tuple[int, int, int, bool, bool, int], ...]] = {
    "large": (
        (3, 16, 16, False, False, 1),
        (3, 64, 24, False, False, 2),
        (3, 72, 24, False, False, 1),
        (5, 72, 40, True, False, 2),
        (5, 120, 40, True, False, 1),
        (5, 120, 40, True, False, 1),
        (3, 240, 80, False, True, 2),
        (3, 200, 80, False, True, 1),
        (3, 184, 80, False, True, 1),
        (3, 184, 80, False, True, 1),
        (3, 480, 112, True, True, 1),
        (3, 672, 112, True, True, 1),
        (5, 672, 160, True, True, 2),
        (5, 960, 160, True, True, 1),
        (5, 960, 160, True, True, 1),
    ),
    "small": (
        (3, 16, 16, True, False, 2),
        (3, 72, 24, False, False, 2),
        (3, 88, 24, False, False, 1),
        (5, 96, 40, True, True, 2),
        (5, 240, 40, True, True, 1),
        (5, 240, 40, True, True, 1),
        (5, 120, 48, True, True, 1),
        (5, 144, 48, True, True, 1),
        (5, 288, 96, True, True, 2),
        (5, 576, 96, True, True, 1),
        (5, 576, 96, True, True, 1),
    ),
}


def mobilenet_v3(size: str, num_classes: int = 1000) -> nn.Sequential:
    """Build MobileNetV3 "large" or "small"."""
    layers: list[nn.Module] = [conv_norm(3, 16, 3, stride=2, activation=nn.Hardswish)]
    channels = 16
    for kernel_size, expanded, width, squeezed, swish, stride in MOBILENET_V3[size]:
        squeeze = None
        if squeezed:
            squeeze = SqueezeExcite(expanded, round_to_8(expanded / 4), gate=nn.Hardsigmoid)
        layers.append(
            inverted_residual(
                channels,
                expanded,
                width,
                kernel_size=kernel_size,
                stride=stride,
                activation=nn.Hardswish if swish else nn.ReLU,
                squeeze=squeeze,
            )
        )
        channels = width
    hidden = {"large": 1280, "small": 1024}[size]
    return nn.Sequential(
        *layers,
        conv_norm(channels, 6 * channels, 1, activation=nn.Hardswish),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6 * channels, hidden),
        nn.Hardswish(),
        nn.Dropout(0.2),
        nn.Linear(hidden, num_classes),
    )


class ShuffleUnit(nn.Module):
    """Work on half of the channels (or on all, when downsampling), join, shuffle."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        half = out_channels // 2
        first = in_channels if stride == 2 else half
        self.main = nn.Sequential(
            conv_norm(first, half, 1),
            conv_norm(half, half, 3, stride=stride, groups=half, activation=None),
            conv_norm(half, half, 1),
        )
        self.side: nn.Module | None = None
        if stride == 2:
            self.side = nn.Sequential(
                conv_norm(first, first, 3, stride=2, groups=first, activation=None),
                conv_norm(first, half, 1),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in_channels, h, w) to (n, out_channels, h / stride, w / stride)."""
        left, right = (x, x) if self.side is not None else x.chunk(2, dim=1)
        if self.side is not None:
            left = self.side(left)
        joined = torch.cat((left, self.main(right)), dim=1)
        n, c, h, w = joined.shape
        return joined.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


def shufflenet_v2(num_classes: int = 1000) -> nn.Sequential:
    """Build ShuffleNetV2 x1.0."""
    layers: list[nn.Module] = [conv_norm(3, 24, 3, stride=2), nn.MaxPool2d(3, 2, 1)]
    channels = 24
    for width, repeats in ((116, 4), (232, 8), (464, 4)):
        for number in range(repeats):
            layers.append(ShuffleUnit(channels, width, stride=2 if number == 0 else 1))
            channels = width
    return nn.Sequential(*layers, conv_norm(channels, 1024, 1), classifier(1024, num_classes))
