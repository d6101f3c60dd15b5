"""ResNet, ResNeXt, Wide ResNet, RegNet-Y, and FCN on a dilated ResNet.

The stride of a bottleneck sits on its 3x3 convolution ("v1.5"), as in the published counts.
"""

from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn

from zoo.layers import SqueezeExcite, classifier, conv_norm

RESNET_DEPTHS: dict[int, tuple[int, int, int, int]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}


class Block(nn.Module):
    """`relu(body(x) + shortcut(x))`, with a projection where the shape changes."""

    def __init__(self, body: nn.Module, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.body = body
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = conv_norm(in_channels, out_channels, 1, stride=stride, activation=None)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in_channels, h, w) to (n, out_channels, h / stride, w / stride)."""
        return F.relu(self.body(x) + self.shortcut(x))


def basic_block(in_channels: int, width: int, stride: int) -> Block:
    body = nn.Sequential(
        conv_norm(in_channels, width, 3, stride=stride),
        conv_norm(width, width, 3, activation=None),
    )
    return Block(body, in_channels, width, stride)


def _bottleneck(
    in_channels: int,
    inner: int,
    out_channels: int,
    *,
    stride: int,
    groups: int = 1,
    dilation: int = 1,
    squeeze: int = 0,
) -> Block:
    """Build 1x1, 3x3, (squeeze-excite,) 1x1."""
    body = nn.Sequential(
        conv_norm(in_channels, inner, 1),
        conv_norm(inner, inner, 3, stride=stride, groups=groups, dilation=dilation),
        SqueezeExcite(inner, squeeze) if squeeze else nn.Identity(),
        conv_norm(inner, out_channels, 1, activation=None),
    )
    return Block(body, in_channels, out_channels, stride)


def _stages(depth: int, *, groups: int, group_width: int, dilate: bool = False) -> OrderedDict[str, nn.Module]:
    """Build stem and four stages; with `dilate` the last two keep the resolution."""
    stem = nn.Sequential(conv_norm(3, 64, 7, stride=2), nn.MaxPool2d(3, 2, 1))
    stages: OrderedDict[str, nn.Module] = OrderedDict(stem=stem)
    channels, dilation = 64, 1
    for index, repeats in enumerate(RESNET_DEPTHS[depth]):
        width = 64 * 2**index
        stride = 1 if index == 0 else 2
        previous = dilation
        if dilate and index >= 2:
            dilation, stride = 2 * dilation, 1
        blocks = []
        for number in range(repeats):
            step = stride if number == 0 else 1
            if depth < 50:
                blocks.append(basic_block(channels, width, step))
                channels = width
            else:
                inner = width * group_width // 64 * groups
                blocks.append(
                    _bottleneck(
                        channels,
                        inner,
                        4 * width,
                        stride=step,
                        groups=groups,
                        dilation=previous if number == 0 else dilation,
                    )
                )
                channels = 4 * width
        stages[f"stage{index + 1}"] = nn.Sequential(*blocks)
    return stages


def resnet(depth: int, *, groups: int = 1, group_width: int = 64, num_classes: int = 1000) -> nn.Sequential:
    """Build ResNet-18 to 152.

    `groups=32, group_width=4` is ResNeXt 32x4d, `group_width=128` is the wide one ("_2").
    """
    stages = _stages(depth, groups=groups, group_width=group_width)
    stages["head"] = classifier(512 if depth < 50 else 2048, num_classes)
    return nn.Sequential(stages)


def regnet_y_400mf(num_classes: int = 1000) -> nn.Sequential:
    """Build RegNet-Y 400MF: groups of 8 channels, squeeze to a quarter of the block's input."""
    layers: list[nn.Module] = [conv_norm(3, 32, 3, stride=2)]
    channels = 32
    for width, repeats in zip((48, 104, 208, 440), (1, 3, 6, 6), strict=True):
        for number in range(repeats):
            layers.append(
                _bottleneck(
                    channels,
                    width,
                    width,
                    stride=2 if number == 0 else 1,
                    groups=width // 8,
                    squeeze=round(channels / 4),
                )
            )
            channels = width
    return nn.Sequential(*layers, classifier(channels, num_classes))


class FCN(nn.Module):
    """Fully convolutional network on a dilated ResNet-50, with the auxiliary head of stage 3."""

    def __init__(self, num_classes: int = 21) -> None:
        super().__init__()
        self.backbone = nn.Sequential(_stages(50, groups=1, group_width=64, dilate=True))
        self.head = self._head(2048, num_classes)
        self.aux = self._head(1024, num_classes)

    @staticmethod
    def _head(channels: int, num_classes: int) -> nn.Sequential:
        inner = channels // 4
        return nn.Sequential(conv_norm(channels, inner, 3), nn.Dropout(0.1), nn.Conv2d(inner, num_classes, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the scores of both heads at the size of the image."""
        size = x.shape[-2:]
        for name, stage in self.backbone.named_children():
            x = stage(x)
            if name == "stage3":
                aux = self.aux(x)
        scores = self.head(x)
        return (
            F.interpolate(scores, size=size, mode="bilinear", align_corners=False),
            F.interpolate(aux, size=size, mode="bilinear", align_corners=False),
        )
