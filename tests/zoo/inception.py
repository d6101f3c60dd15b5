"""GoogLeNet (with batch norm, as torchvision publishes it) and Inception-v3.

In that GoogLeNet the "5x5" branch is a 3x3 convolution; the published counts belong to it.
"""

import torch
from torch import Tensor, nn

from zoo.layers import classifier, conv_norm


class Branches(nn.Module):
    """Run branches side by side and join their channels."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        """Concatenate along channels."""
        return torch.cat([branch(x) for branch in self.branches], dim=1)


def _googlenet_block(channels: int, widths: tuple[int, int, int, int, int, int]) -> Branches:
    """Build one block; widths are 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection."""
    one, reduce3, three, reduce5, five, pool = widths
    return Branches(
        conv_norm(channels, one, 1),
        nn.Sequential(conv_norm(channels, reduce3, 1), conv_norm(reduce3, three, 3)),
        nn.Sequential(conv_norm(channels, reduce5, 1), conv_norm(reduce5, five, 3)),
        nn.Sequential(nn.MaxPool2d(3, 1, 1), conv_norm(channels, pool, 1)),
    )


GOOGLENET_STAGES: tuple[tuple[tuple[int, int, int, int, int, int], ...], ...] = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)


def googlenet(num_classes: int = 1000) -> nn.Sequential:
    """Build GoogLeNet without its two auxiliary classifiers."""
    layers: list[nn.Module] = [
        conv_norm(3, 64, 7, stride=2),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        conv_norm(64, 64, 1),
        conv_norm(64, 192, 3),
        nn.MaxPool2d(3, 2, ceil_mode=True),
    ]
    channels = 192
    for stage, blocks in enumerate(GOOGLENET_STAGES):
        if stage:
            kernel = 3 if stage == 1 else 2
            layers.append(nn.MaxPool2d(kernel, 2, ceil_mode=True))
        for widths in blocks:
            layers.append(_googlenet_block(channels, widths))
            channels = widths[0] + widths[2] + widths[4] + widths[5]
    return nn.Sequential(*layers, classifier(channels, num_classes, dropout=0.2))


def _block_a(channels: int, pool: int) -> Branches:
    return Branches(
        conv_norm(channels, 64, 1),
        nn.Sequential(conv_norm(channels, 48, 1), conv_norm(48, 64, 5)),
        nn.Sequential(conv_norm(channels, 64, 1), conv_norm(64, 96, 3), conv_norm(96, 96, 3)),
        nn.Sequential(nn.AvgPool2d(3, 1, 1), conv_norm(channels, pool, 1)),
    )


def _reduce_a(channels: int) -> Branches:
    return Branches(
        conv_norm(channels, 384, 3, stride=2, padding=0),
        nn.Sequential(
            conv_norm(channels, 64, 1),
            conv_norm(64, 96, 3),
            conv_norm(96, 96, 3, stride=2, padding=0),
        ),
        nn.MaxPool2d(3, 2),
    )


def _block_b(channels: int, width: int) -> Branches:
    """Build the block whose 7x7 convolutions are split in 1x7 and 7x1."""
    across, down = (1, 7), (7, 1)
    return Branches(
        conv_norm(channels, 192, 1),
        nn.Sequential(
            conv_norm(channels, width, 1),
            conv_norm(width, width, across),
            conv_norm(width, 192, down),
        ),
        nn.Sequential(
            conv_norm(channels, width, 1),
            conv_norm(width, width, down),
            conv_norm(width, width, across),
            conv_norm(width, width, down),
            conv_norm(width, 192, across),
        ),
        nn.Sequential(nn.AvgPool2d(3, 1, 1), conv_norm(channels, 192, 1)),
    )


def _reduce_b(channels: int) -> Branches:
    return Branches(
        nn.Sequential(conv_norm(channels, 192, 1), conv_norm(192, 320, 3, stride=2, padding=0)),
        nn.Sequential(
            conv_norm(channels, 192, 1),
            conv_norm(192, 192, (1, 7)),
            conv_norm(192, 192, (7, 1)),
            conv_norm(192, 192, 3, stride=2, padding=0),
        ),
        nn.MaxPool2d(3, 2),
    )


def _block_c(channels: int) -> Branches:
    def fork() -> Branches:
        return Branches(conv_norm(384, 384, (1, 3)), conv_norm(384, 384, (3, 1)))

    return Branches(
        conv_norm(channels, 320, 1),
        nn.Sequential(conv_norm(channels, 384, 1), fork()),
        nn.Sequential(conv_norm(channels, 448, 1), conv_norm(448, 384, 3), fork()),
        nn.Sequential(nn.AvgPool2d(3, 1, 1), conv_norm(channels, 192, 1)),
    )


class InceptionV3(nn.Module):
    """Inception-v3; the auxiliary classifier has parameters always and runs only in training."""

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            conv_norm(3, 32, 3, stride=2, padding=0),
            conv_norm(32, 32, 3, padding=0),
            conv_norm(32, 64, 3),
            nn.MaxPool2d(3, 2),
            conv_norm(64, 80, 1),
            conv_norm(80, 192, 3, padding=0),
            nn.MaxPool2d(3, 2),
            _block_a(192, 32),
            _block_a(256, 64),
            _block_a(288, 64),
            _reduce_a(288),
            *(_block_b(768, width) for width in (128, 160, 160, 192)),
        )
        self.aux = nn.Sequential(
            nn.AvgPool2d(5, 3),
            conv_norm(768, 128, 1),
            conv_norm(128, 768, 5, padding=0),
            classifier(768, num_classes),
        )
        self.top = nn.Sequential(_reduce_b(768), _block_c(1280), _block_c(2048), classifier(2048, num_classes, 0.5))

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Return logits; in training also those of the auxiliary classifier."""
        x = self.trunk(x)
        logits: Tensor = self.top(x)
        return (logits, self.aux(x)) if self.training else logits
