"""AlexNet, in the one-column form that torchvision publishes."""

from __future__ import annotations

from torch import Tensor, nn

from trainworthy.parts.models.layers import Stem
from trainworthy.parts.module import TypedModule


class AlexNet(TypedModule):
    """Five convolutions and three linear layers, with ReLU and dropout.

    Shapes:   (N, channels, H, W) -> logits (N, classes); H, W at least 63 with the published stem, 8 with the small one
    Source:   Krizhevsky 2014, "One weird trick" (arXiv 1404.5997), as torchvision 0.28 has it: 61,100,840 parameters
              for 1000 classes. The network of 2012 had two columns and local response normalisation.

    Args:
        classes: Number of classes.
        channels: Channels of the image.
        width: Channels of the first convolution; the others follow in proportion. 64 as published.
        hidden: Width of the linear layers. 4096 as published.
        pooled: The features are averaged to this many pixels a side before the linear layers. 6 as published.
        dropout: Share dropped before each of the first two linear layers.
        stem: ``small`` has a first convolution of 3 x 3 at stride 1, and pools 2 x 2, for images of 8 to 64 pixels.

    >>> import torch
    >>> model = AlexNet(classes=10, channels=1, width=8, hidden=32, pooled=1, stem="small")
    >>> model(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self, *, classes: int = 1000, channels: int = 3, width: int = 64, hidden: int = 4096, pooled: int = 6,
        dropout: float = 0.5, stem: Stem = "imagenet",
    ) -> None:  # fmt: skip
        super().__init__()
        large = stem == "imagenet"
        first = nn.Conv2d(channels, width, 11, 4, 2) if large else nn.Conv2d(channels, width, 3, padding=1)
        pool = 3 if large else 2
        self.features = nn.Sequential(
            first, nn.ReLU(inplace=True), nn.MaxPool2d(pool, 2),
            nn.Conv2d(width, 3 * width, 5, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(pool, 2),
            nn.Conv2d(3 * width, 6 * width, 3, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(6 * width, 4 * width, 3, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(4 * width, 4 * width, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(pool, 2),
        )  # fmt: skip
        self.pool = nn.AdaptiveAvgPool2d(pooled)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(4 * width * pooled**2, hidden), nn.ReLU(inplace=True),
            nn.Dropout(dropout), nn.Linear(hidden, hidden), nn.ReLU(inplace=True),
            nn.Linear(hidden, classes),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self.classifier(self.pool(self.features(x)).flatten(1))
        return logits
