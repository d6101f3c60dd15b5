"""ConvNeXt: a ResNet with the habits of a vision transformer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainworthy.errors import UsageError
from trainworthy.parts.models.layers import RandomSkip
from trainworthy.parts.module import TypedModule

Size = Literal["tiny", "small", "base", "large"]
_SIZES = {
    "tiny": ((3, 3, 9, 3), 96, 0.1), "small": ((3, 3, 27, 3), 96, 0.4),
    "base": ((3, 3, 27, 3), 128, 0.5), "large": ((3, 3, 27, 3), 192, 0.5),
}  # fmt: skip


class ConvNeXt(TypedModule):
    """ConvNeXt-T, S, B, L, or one of your own depths and width.

    Shapes:   (N, channels, H, W) -> logits (N, classes); H and W at least ``8 patch`` with four stages
    Source:   Liu et al. 2022 (arXiv 2201.03545), section 2 and appendix A; parameters as torchvision 0.28 publishes
              them: 28,589,128, 50,223,688, 88,591,464 and 197,767,336

    Args:
        size: ``tiny``, ``small``, ``base`` or ``large``.
        classes: Number of classes.
        channels: Channels of the image.
        depths: Blocks of each stage; None: those of the size.
        width: Channels of the first stage, doubled at each next; None: that of the size.
        patch: Pixels a side of a patch of the stem; 4 as published.
        skip: The share of samples for which the last block is dropped, rising from 0 at the first; None: of the size.

    Raises:
        UsageError: If there is no such size.

    >>> model = ConvNeXt(classes=10, channels=1, depths=(1, 1), width=8, patch=2)
    >>> model(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self, size: Size = "tiny", *, classes: int = 1000, channels: int = 3, depths: Sequence[int] | None = None,
        width: int | None = None, patch: int = 4, skip: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if size not in _SIZES:
            raise UsageError(f"There is no ConvNeXt of size {size!r}.", fix=f"Known: {', '.join(_SIZES)}.")
        own_depths, own_width, own_skip = _SIZES[size]
        depths, width = depths or own_depths, width or own_width
        skip = own_skip if skip is None else skip
        layers: list[nn.Module] = [nn.Conv2d(channels, width, patch, patch), ChannelNorm(width)]
        done, last = 0, max(1, sum(depths) - 1)
        for stage, count in enumerate(depths):
            if stage:
                layers += [ChannelNorm(width), nn.Conv2d(width, 2 * width, 2, 2)]
                width *= 2
            for _ in range(count):
                layers.append(ConvNeXtBlock(width, skip=skip * done / last))
                done += 1
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(width, eps=1e-6), nn.Linear(width, classes)
        )
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]  # all layers here have one

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self.classifier(self.features(x))
        return logits


class ConvNeXtBlock(TypedModule):
    """7 x 7 convolution of each channel, then a layer norm and a network of each pixel, around a shortcut.

    Shapes:   (N, width, H, W) -> (N, width, H, W)

    >>> ConvNeXtBlock(4)(torch.zeros(1, 4, 6, 6)).shape
    torch.Size([1, 4, 6, 6])
    """

    def __init__(self, width: int, *, skip: float = 0.0, scale: float = 1e-6) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.network = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.scale = nn.Parameter(torch.full((width,), scale))
        self.skip = RandomSkip(skip)

    def forward(self, x: Tensor) -> Tensor:
        """Add the branch to the shortcut."""
        pixels = self.depthwise(x).permute(0, 2, 3, 1)
        branch = (self.network(self.norm(pixels)) * self.scale).permute(0, 3, 1, 2)
        return x + self.skip(branch)


class ChannelNorm(TypedModule):
    """Layer norm over the channels of each pixel.

    Shapes:   (N, C, H, W) -> (N, C, H, W)

    >>> ChannelNorm(2)(torch.tensor([1.0, 3.0]).reshape(1, 2, 1, 1)).flatten().round()
    tensor([-1.,  1.], grad_fn=<RoundBackward0>)
    """

    def __init__(self, channels: int, *, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise."""
        last = x.permute(0, 2, 3, 1)
        normed = functional.layer_norm(last, self.weight.shape, self.weight, self.bias, self.eps)
        return normed.permute(0, 3, 1, 2)
