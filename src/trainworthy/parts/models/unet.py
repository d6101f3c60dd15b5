"""U-Net: a contracting path, an expanding path, and a copy across at each size."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from trainworthy.errors import ShapeError
from trainworthy.parts.module import TypedModule

Padding = Literal["valid", "same"]


class UNet(TypedModule):
    """U-Net, with unpadded convolutions as published, or with padded ones that keep the size.

    Shapes:   (N, channels, H, W) -> logits (N, classes, H', W'); H' = H with ``same``, which needs a multiple of
              ``2 ** depth``; :func:`unet_output_size` with ``valid`` (572 -> 388)
    Source:   Ronneberger et al. 2015 (arXiv 1505.04597), figure 1: 23 convolutions. It counts 31,030,658 parameters
              for one channel and two classes. The often quoted 31,031,685 is a Keras version with one class and a
              further 3 x 3 convolution to 2 channels before the last.

    Args:
        classes: Number of classes.
        channels: Channels of the image.
        width: Channels of the first convolutions, doubled at each size; 64 as published.
        depth: How often the size is halved; 4 as published.
        padding: ``valid`` as published, or ``same``.
        batch_norm: Batch norm after each 3 x 3 convolution; not in the paper.
        dropout: Share dropped at the end of the contracting path.

    >>> UNet(width=4, depth=2, padding="same")(torch.zeros(1, 1, 16, 16)).shape
    torch.Size([1, 2, 16, 16])
    """

    def __init__(
        self, *, classes: int = 2, channels: int = 1, width: int = 64, depth: int = 4, padding: Padding = "valid",
        batch_norm: bool = False, dropout: float = 0.5,
    ) -> None:  # fmt: skip
        super().__init__()
        self.depth, self.padding = depth, padding
        widths = [width * 2**level for level in range(depth + 1)]
        self.down = nn.ModuleList(
            _double(inputs, outputs, padding, batch_norm) for inputs, outputs in pairwise([channels, *widths])
        )
        self.pool = nn.MaxPool2d(2, 2)
        self.dropout = nn.Dropout(dropout)
        rising = list(pairwise(reversed(widths)))
        self.raise_ = nn.ModuleList(nn.ConvTranspose2d(inputs, outputs, 2, 2) for inputs, outputs in rising)
        self.up = nn.ModuleList(_double(inputs, outputs, padding, batch_norm) for inputs, outputs in rising)
        self.classifier = nn.Conv2d(width, classes, 1)
        for module in self.modules():  # section 3: a standard deviation of sqrt(2 / N), N being the fan-in
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Return logits.

        Raises:
            ShapeError: If the size does not halve evenly at each pool.
        """
        unet_output_size(x.shape[-2], depth=self.depth, padding=self.padding)
        unet_output_size(x.shape[-1], depth=self.depth, padding=self.padding)
        copies = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else self.pool(x))
            copies.append(x)
        x = self.dropout(copies.pop())
        for raise_, block in zip(self.raise_, self.up, strict=True):
            x = raise_(x)
            x = block(torch.cat([centre_crop(copies.pop(), x.shape[-2:]), x], dim=1))
        logits: Tensor = self.classifier(x)
        return logits


def unet_output_size(size: int, *, depth: int = 4, padding: Padding = "valid") -> int:
    """Return the pixels a side that come out of a U-Net.

    Unit:     pixels
    Source:   Ronneberger et al. 2015, section 2: each pool must see an even size

    >>> unet_output_size(572), unet_output_size(96, padding="same")
    (388, 96)

    Raises:
        ShapeError: If the size does not halve evenly at each pool, or nothing is left.
    """
    lost = 4 if padding == "valid" else 0
    inside = size
    for _ in range(depth):
        inside -= lost
        if inside < 2 or inside % 2:
            raise ShapeError(
                f"A side of {size} pixels does not go through a U-Net of depth {depth} with {padding} padding: "
                f"a pool would see {inside}.",
                fix=f"Next that does: {_next_size(size, depth, lost)}.",
            )
        inside //= 2
    for _ in range(depth):
        inside = 2 * (inside - lost)
    if inside <= lost:
        raise ShapeError(
            f"Nothing is left of a side of {size} pixels.", fix=f"Next that works: {_next_size(size, depth, lost)}."
        )
    return inside - lost


def centre_crop(x: Tensor, size: torch.Size) -> Tensor:
    """Cut the middle out of the last two dimensions.

    Shapes:   (..., H, W) -> (..., *size)

    >>> centre_crop(torch.arange(16).reshape(4, 4), torch.Size((2, 2)))
    tensor([[ 5,  6],
            [ 9, 10]])
    """
    top, left = ((have - want) // 2 for have, want in zip(x.shape[-2:], size, strict=True))
    return x[..., top : top + size[0], left : left + size[1]]


def _next_size(size: int, depth: int, lost: int) -> int:
    # A bottom of n pixels, before its convolutions, has n 2^d + lost (2^d - 1) at the top, and at the end
    # n 2^d - lost (2^(d + 1) - 1).
    step = 1 << depth
    bottom = max(1, -(-(size - lost * (step - 1)) // step), -(-(lost * (2 * step - 1) + 1) // step))
    return bottom * step + lost * (step - 1)


def _double(inputs: int, outputs: int, padding: Padding, batch_norm: bool) -> nn.Sequential:
    pad, layers = (1 if padding == "same" else 0), list[nn.Module]()
    for channels in (inputs, outputs):
        layers.append(nn.Conv2d(channels, outputs, 3, padding=pad))
        layers += [nn.BatchNorm2d(outputs)] if batch_norm else []
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)
