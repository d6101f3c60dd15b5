"""AlexNet, VGG and SqueezeNet: plain stacks of convolutions.

AlexNet is the one-tower variant of "One weird trick for parallelizing convolutional neural
networks" (2014), which torchvision publishes; the 2012 paper's network has two towers (grouped
convolutions) and 96 and 256 channels in front.
"""

import torch
from torch import Tensor, nn

VGG_PLANS: dict[int, tuple[int, ...]] = {  # depth -> convolutions a stage
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}


def _dense_head(features: int, num_classes: int) -> list[nn.Module]:
    """Build the two wide hidden layers and the output layer."""
    layers: list[nn.Module] = []
    for width in (4096, 4096):
        layers += [nn.Linear(features, width), nn.ReLU(), nn.Dropout(0.5)]
        features = width
    return [*layers, nn.Linear(features, num_classes)]


def alexnet(num_classes: int = 1000) -> nn.Sequential:
    """Build AlexNet (one tower)."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.AdaptiveAvgPool2d(6),
        nn.Flatten(),
        *_dense_head(256 * 6 * 6, num_classes),
    )


def vgg(depth: int, *, batch_norm: bool = False, num_classes: int = 1000) -> nn.Sequential:
    """Build VGG-11, 13, 16 or 19, with or without batch norm."""
    layers: list[nn.Module] = []
    channels = 3
    for width, repeats in zip((64, 128, 256, 512, 512), VGG_PLANS[depth], strict=True):
        for _ in range(repeats):
            layers.append(nn.Conv2d(channels, width, 3, padding=1))
            if batch_norm:
                layers.append(nn.BatchNorm2d(width))
            layers.append(nn.ReLU())
            channels = width
        layers.append(nn.MaxPool2d(2, 2))
    head = _dense_head(512 * 7 * 7, num_classes)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(7), nn.Flatten(), *head)


class Fire(nn.Module):
    """Squeeze with 1x1, then expand with 1x1 and 3x3 side by side."""

    def __init__(self, in_channels: int, squeeze: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(in_channels, squeeze, 1)
        self.expand1 = nn.Conv2d(squeeze, 4 * squeeze, 1)
        self.expand3 = nn.Conv2d(squeeze, 4 * squeeze, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in_channels, h, w) to (n, 8 * squeeze, h, w)."""
        x = self.squeeze(x).relu()
        return torch.cat((self.expand1(x), self.expand3(x)), dim=1).relu()


def squeezenet(version: str, num_classes: int = 1000) -> nn.Sequential:
    """Build SqueezeNet "1.0" or "1.1"; first layer and pooling differ."""
    stem, pools_before = {
        "1.0": (nn.Conv2d(3, 96, 7, stride=2), (0, 3, 7)),
        "1.1": (nn.Conv2d(3, 64, 3, stride=2), (0, 2, 4)),
    }[version]
    layers: list[nn.Module] = [stem, nn.ReLU()]
    channels = stem.out_channels
    for index, squeeze in enumerate((16, 16, 32, 32, 48, 48, 64, 64)):
        if index in pools_before:
            layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
        layers.append(Fire(channels, squeeze))
        channels = 8 * squeeze
    return nn.Sequential(
        *layers,
        nn.Dropout(0.5),
        nn.Conv2d(channels, num_classes, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
