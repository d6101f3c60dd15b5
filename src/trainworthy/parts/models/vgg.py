"""VGG: stages of 3 x 3 convolutions with a pool after each, then three linear layers."""

from __future__ import annotations

from torch import Tensor, nn

from trainworthy.errors import UsageError
from trainworthy.parts.module import TypedModule

_CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
_WIDTHS = (1, 2, 4, 8, 8)


class VGG(TypedModule):
    """VGG-11, 13, 16 or 19 (configurations A, B, D, E), with or without batch norm.

    Shapes:   (N, channels, H, W) -> logits (N, classes); H and W at least 2 to the power of ``pools``
    Source:   Simonyan and Zisserman 2015 (arXiv 1409.1556), table 1; parameters as torchvision 0.28 publishes them:
              132,863,336, 133,047,848, 138,357,544 and 143,667,240 for 11, 13, 16, 19

    Args:
        depth: 11, 13, 16 or 19.
        classes: Number of classes.
        channels: Channels of the image.
        batch_norm: Batch norm after each convolution.
        width: Channels of the first stage. 64 as published.
        hidden: Width of the linear layers. 4096 as published.
        pooled: The features are averaged to this many pixels a side before the linear layers. 7 as published.
        pools: How many of the five stages end in a pool; fewer for images smaller than 32 pixels.
        dropout: Share dropped after each of the first two linear layers.

    Raises:
        UsageError: If there is no such depth.

    >>> import torch
    >>> model = VGG(11, classes=10, channels=1, width=4, hidden=32, pooled=1, pools=3)
    >>> model(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self, depth: int = 16, *, classes: int = 1000, channels: int = 3, batch_norm: bool = False, width: int = 64,
        hidden: int = 4096, pooled: int = 7, pools: int = 5, dropout: float = 0.5,
    ) -> None:  # fmt: skip
        super().__init__()
        stages = vgg_stages(depth, channels=channels, width=width, batch_norm=batch_norm, pools=pools)
        self.features = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(pooled)
        self.classifier = nn.Sequential(
            nn.Linear(8 * width * pooled**2, hidden), nn.ReLU(inplace=True), nn.Dropout(dropout),
            nn.Linear(hidden, hidden), nn.ReLU(inplace=True), nn.Dropout(dropout),
            nn.Linear(hidden, classes),
        )  # fmt: skip
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self.classifier(self.pool(self.features(x)).flatten(1))
        return logits


def vgg_stages(
    depth: int, *, channels: int = 3, width: int = 64, batch_norm: bool = False, pools: int = 5, first_padding: int = 1,
    ceil: bool = False,
) -> list[nn.Sequential]:  # fmt: skip
    """Return the five stages of convolutions, each with its pool.

    Shapes:   (N, channels, H, W) -> (N, 8 width, H / 32, W / 32) over all five

    Args:
        depth: 11, 13, 16 or 19.
        channels: Channels of the image.
        width: Channels of the first stage; 1, 2, 4, 8, 8 times that in the five.
        batch_norm: Batch norm after each convolution.
        pools: How many stages end in a pool.
        first_padding: Padding of the first convolution; FCN has 100.
        ceil: Pools keep an incomplete window at the border, as Caffe's do.

    Raises:
        UsageError: If there is no such depth.

    >>> [len(stage) for stage in vgg_stages(16, width=4)]
    [5, 5, 7, 7, 7]
    """
    if depth not in _CONVOLUTIONS:
        raise UsageError(f"There is no VGG of depth {depth}.", fix="Known: 11, 13, 16, 19.")
    stages, padding, inputs = [], first_padding, channels
    for index, (count, factor) in enumerate(zip(_CONVOLUTIONS[depth], _WIDTHS, strict=True)):
        layers: list[nn.Module] = []
        for _ in range(count):
            layers.append(nn.Conv2d(inputs, factor * width, 3, padding=padding))
            if batch_norm:
                layers.append(nn.BatchNorm2d(factor * width))
            layers.append(nn.ReLU(inplace=True))
            inputs, padding = factor * width, 1
        if index < pools:
            layers.append(nn.MaxPool2d(2, 2, ceil_mode=ceil))
        stages.append(nn.Sequential(*layers))
    return stages


def _initialise(model: nn.Module) -> None:
    """Draw the weights as torchvision does: He et al. for convolutions, a narrow normal for linear layers."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]  # all of VGG's convolutions have one
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.01)
            nn.init.zeros_(module.bias)
