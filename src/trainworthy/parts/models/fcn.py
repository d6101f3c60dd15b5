"""FCN-32s, 16s and 8s: a classifier made convolutional, whose scores are enlarged and joined with finer ones."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from trainworthy.errors import ShapeError, UsageError
from trainworthy.parts.models.vgg import vgg_stages
from trainworthy.parts.module import TypedModule

Stride = Literal[32, 16, 8]
Padding = Literal["published", "same"]


class FCN(TypedModule):
    """FCN on a VGG backbone.

    Transposed convolutions begin as bilinear interpolation. Where each map is cut follows from the geometry of the
    layers (:class:`Grid`) and gives the published offsets: 19 for FCN-32s; 5 and 27 for 16s; 5, 9 and 31 for 8s.

    Shapes:   (N, channels, H, W) -> logits (N, classes, H, W), of any size
    Source:   Long, Shelhamer and Darrell 2015 (arXiv 1411.4038), and the authors' voc-fcn32s, voc-fcn16s and voc-fcn8s:
              136,152,917, 134,815,994 and 134,489,759 parameters for 21 classes

    Args:
        stride: 32, 16 or 8: how fine the finest scores are.
        classes: Number of classes.
        channels: Channels of the image.
        depth: Depth of the VGG; 16 as published.
        width: Channels of its first stage; 64 as published.
        hidden: Channels of the two convolutions that were linear layers; 4096 as published.
        kernel: Size of the first of them, odd; 7 as published.
        padding: ``published`` gives the image a border of 100 pixels and none to that convolution; ``same`` gives both
            half their kernel, which saves much of the work on small images.
        dropout: Share dropped after each of the two.

    Raises:
        UsageError: If there is no such stride, or the kernel is even.

    >>> model = FCN(8, classes=3, channels=1, depth=11, width=4, hidden=16, kernel=1, padding="same")
    >>> model(torch.zeros(1, 1, 20, 24)).shape
    torch.Size([1, 3, 20, 24])
    """

    def __init__(
        self, stride: Stride = 8, *, classes: int = 21, channels: int = 3, depth: int = 16, width: int = 64,
        hidden: int = 4096, kernel: int = 7, padding: Padding = "published", dropout: float = 0.5,
    ) -> None:  # fmt: skip
        super().__init__()
        if stride not in (32, 16, 8):
            raise UsageError(f"There is no FCN-{stride}s.", fix="Known: 32, 16, 8.")
        if kernel % 2 == 0:
            raise UsageError(f"kernel is {kernel}; it must be odd.")
        border, inner_border = _borders(padding, kernel)
        stages = vgg_stages(depth, channels=channels, width=width, first_padding=border, ceil=True)
        self.stages = nn.ModuleList(stages)
        self.scores = nn.Sequential(
            nn.Conv2d(8 * width, hidden, kernel, padding=inner_border), nn.ReLU(inplace=True), nn.Dropout(dropout),
            nn.Conv2d(hidden, hidden, 1), nn.ReLU(inplace=True), nn.Dropout(dropout),
            nn.Conv2d(hidden, classes, 1),
        )  # fmt: skip
        skips = {32: (), 16: (8,), 8: (8, 4)}[stride]  # widths of the stages 4 and 3
        self.skips = nn.ModuleList(nn.Conv2d(factor * width, classes, 1) for factor in skips)
        self.enlarge = nn.ModuleList(bilinear_upsampling(classes, 2) for _ in skips)
        self.enlarge_last = bilinear_upsampling(classes, stride)
        self.offsets = crop_offsets(stride, kernel=kernel, padding=padding)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of each pixel."""
        size, maps = x.shape[-2:], []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        scores: Tensor = self.scores(x)
        *inner, last = self.offsets
        finer = (maps[3], maps[2])[: len(self.skips)]
        for skip, enlarge, offset, features in zip(self.skips, self.enlarge, inner, finer, strict=True):
            larger, finer_scores = enlarge(scores)[..., max(-offset, 0) :, max(-offset, 0) :], skip(features)
            finer_scores = finer_scores[..., max(offset, 0) :, max(offset, 0) :]
            height, width = map(min, zip(larger.shape[-2:], finer_scores.shape[-2:], strict=True))
            scores = larger[..., :height, :width] + finer_scores[..., :height, :width]
        logits: Tensor = self.enlarge_last(scores)[..., last : last + size[0], last : last + size[1]]
        return logits


class Grid(NamedTuple):
    """Where the elements of a map lie in the image: element ``i`` is centred at pixel ``scale * i + shift``.

    Source:   the rules of coord_map.py in Caffe: a layer's elements and its inputs' are affine to each other

    >>> Grid().conv(2, stride=2).conv(3, padding=1)
    Grid(scale=2.0, shift=0.5)
    """

    scale: float = 1.0
    shift: float = 0.0

    def conv(self, kernel: int, stride: int = 1, padding: int = 0) -> Grid:
        """Return the grid after a convolution or a pool."""
        return Grid(self.scale * stride, self.shift + self.scale * ((kernel - 1) / 2 - padding))

    def transposed(self, kernel: int, stride: int) -> Grid:
        """Return the grid after a transposed convolution without padding."""
        return Grid(self.scale / stride, self.shift - self.scale / stride * (kernel - 1) / 2)

    def offset_in(self, other: Grid) -> int:
        """Return which element of ``other``, of the same scale, lies on the first element of this grid.

        Raises:
            ShapeError: If none does.
        """
        offset = (self.shift - other.shift) / other.scale
        if self.scale != other.scale or offset != int(offset):
            raise ShapeError(f"{self} and {other} have no elements in common.")
        return int(offset)


def crop_offsets(stride: Stride, *, kernel: int = 7, padding: Padding = "published") -> tuple[int, ...]:
    """Return where the skips and, last, the enlarged scores are cut; if negative, the scores are cut, not the skip.

    >>> crop_offsets(32), crop_offsets(16), crop_offsets(8)
    ((19,), (5, 27), (5, 9, 31))
    >>> crop_offsets(8, padding="same")
    (-1, -1, 4)

    Raises:
        ShapeError: If elements of the maps do not fall on each other.
    """
    border, inner_border = _borders(padding, kernel)
    grid = Grid().conv(3, padding=border)
    pools = []
    for _ in range(5):
        grid = grid.conv(2, stride=2)
        pools.append(grid)
    scores = grid.conv(kernel, padding=inner_border)
    offsets = []
    for pool in {32: (), 16: (pools[3],), 8: (pools[3], pools[2])}[stride]:
        scores = scores.transposed(4, 2)
        offset = scores.offset_in(pool)
        offsets.append(offset)
        scores = pool if offset < 0 else scores
    return (*offsets, Grid().offset_in(scores.transposed(2 * stride, stride)))


def bilinear_upsampling(channels: int, factor: int) -> nn.ConvTranspose2d:
    """Return a transposed convolution that begins as bilinear interpolation, each channel for itself, and can learn.

    Shapes:   (N, C, H, W) -> (N, C, factor (H + 1), factor (W + 1)); cut ``factor / 2`` from each border to be in place
    Source:   Long et al. 2015, section 3.3; the kernel as Caffe's bilinear filler has it

    >>> bilinear_upsampling(1, 2).weight[0, 0, 0]
    tensor([0.0625, 0.1875, 0.1875, 0.0625], grad_fn=<SelectBackward0>)
    """
    layer = nn.ConvTranspose2d(channels, channels, 2 * factor, factor, bias=False)
    side = 1 - ((torch.arange(2 * factor) - (factor - 0.5)).abs() / factor)
    with torch.no_grad():
        layer.weight.zero_()
        each = torch.arange(channels)
        layer.weight[each, each] = side[:, None] * side
    return layer


def _borders(padding: Padding, kernel: int) -> tuple[int, int]:
    return (100, 0) if padding == "published" else (1, kernel // 2)


def _initialise(model: FCN) -> None:
    """Scores begin at 0, as published; the rest as VGG."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]  # all layers here have one
    for layer in (model.scores[-1], *model.skips):
        nn.init.zeros_(layer.weight)
