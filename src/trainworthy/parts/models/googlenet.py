"""GoogLeNet (Inception v1), with its two auxiliary heads."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from trainworthy.parts.models.layers import Stem, conv_norm_relu
from trainworthy.parts.module import TypedModule

Form = Literal["torchvision", "paper"]
# 1 x 1; 3 x 3 reduced, 3 x 3; 5 x 5 reduced, 5 x 5; after the pool. Table 1 of the paper.
_INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64), "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64), "4c": (128, 128, 256, 24, 64, 64), "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128), "5a": (256, 160, 320, 32, 128, 128), "5b": (384, 192, 384, 48, 128, 128),
}  # fmt: skip


class GoogLeNetLogits(NamedTuple):
    """What GoogLeNet returns.

    Attributes:
        logits: (N, classes).
        early: (N, classes) of the head behind block 4a; None in evaluation or without heads.
        late: (N, classes) of the head behind block 4d; None likewise.
    """

    logits: Tensor
    early: Tensor | None
    late: Tensor | None


class GoogLeNet(TypedModule):
    """Nine blocks of parallel convolutions, two auxiliary heads in training.

    The training loss is that of ``logits`` plus 0.3 times that of each head (section 5 of the paper).

    Shapes:   (N, channels, H, W) -> :class:`GoogLeNetLogits`; H and W at least 15 with the published stem
    Source:   Szegedy et al. 2014 (arXiv 1409.4842), table 1. ``form="torchvision"`` (batch norm, and 3 x 3 where the
              paper has 5 x 5) has 13,004,888 parameters, 6,624,904 without heads, as torchvision 0.28 publishes them;
              ``form="paper"`` (biases, local response norm) has 13,378,280 and 6,998,552, as Caffe's bvlc_googlenet.

    Args:
        classes: Number of classes.
        channels: Channels of the image.
        heads: Whether there are auxiliary heads.
        form: Which of the two forms.
        scale: All channels are multiplied by this.
        hidden: Width of the linear layer of a head; 1024 as published.
        dropout: Share dropped before the last layer: 0.2 in torchvision, 0.4 in the paper; None: that of the form.
        head_dropout: The same in the heads.
        stem: ``small`` begins with a 3 x 3 convolution at stride 1 and has no pool before block 3a.

    >>> model = GoogLeNet(classes=10, channels=1, scale=0.125, hidden=16, stem="small")
    >>> logits, early, late = model(torch.zeros(2, 1, 8, 8))
    >>> logits.shape, early.shape, model.eval()(torch.zeros(2, 1, 8, 8)).early
    (torch.Size([2, 10]), torch.Size([2, 10]), None)
    """

    def __init__(
        self, *, classes: int = 1000, channels: int = 3, heads: bool = True, form: Form = "torchvision",
        scale: float = 1.0, hidden: int = 1024, dropout: float | None = None, head_dropout: float = 0.7,
        stem: Stem = "imagenet",
    ) -> None:  # fmt: skip
        super().__init__()

        def wide(count: int) -> int:
            return max(1, round(count * scale))

        self.stem = _stem(channels, wide(64), wide(192), form, stem)
        self.blocks, inputs, width_of = nn.ModuleDict(), wide(192), {}
        for name, widths in _INCEPTIONS.items():
            block = Inception(inputs, tuple(wide(width) for width in widths), form)
            self.blocks[name], inputs = block, block.outputs
            width_of[name] = inputs
        self.pool3 = nn.MaxPool2d(3, 2, ceil_mode=True)
        size = 2 if form == "torchvision" else 3  # torchvision pools 2 x 2 here, the paper 3 x 3
        self.pool4 = nn.MaxPool2d(size, 2, ceil_mode=True)

        def head(behind: str) -> _Head:
            sizes = (width_of[behind], wide(128))
            return _Head(*sizes, hidden=hidden, classes=classes, dropout=head_dropout, form=form)

        self.early = head("4a") if heads else None
        self.late = head("4d") if heads else None
        share = (0.2 if form == "torchvision" else 0.4) if dropout is None else dropout
        self.classifier = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(share), nn.Linear(inputs, classes)
        )
        _initialise(self)

    def forward(self, x: Tensor) -> GoogLeNetLogits:
        """Return logits, in training also those of the heads."""
        x = self.stem(x)
        early = late = None
        for name, block in self.blocks.items():
            x = block(x)
            if name == "3b":
                x = self.pool3(x)
            elif name == "4a" and self.training and self.early is not None:
                early = self.early(x)
            elif name == "4d" and self.training and self.late is not None:
                late = self.late(x)
            elif name == "4e":
                x = self.pool4(x)
        return GoogLeNetLogits(self.classifier(x), early, late)


class Inception(TypedModule):
    """Convolutions of three sizes and a pool side by side, joined by channels.

    Shapes:   (N, inputs, H, W) -> (N, outputs, H, W)

    Args:
        inputs: Channels that come in.
        widths: Channels of 1 x 1; 3 x 3 reduced, 3 x 3; 5 x 5 reduced, 5 x 5; after the pool.
        form: As in :class:`GoogLeNet`.

    >>> Inception(8, (2, 3, 4, 1, 2, 2))(torch.zeros(1, 8, 5, 5)).shape
    torch.Size([1, 10, 5, 5])
    """

    def __init__(self, inputs: int, widths: tuple[int, ...], form: Form = "torchvision") -> None:
        super().__init__()
        one, three_reduced, three, five_reduced, five, pooled = widths
        self.outputs = one + three + five + pooled
        large = 3 if form == "torchvision" else 5
        self.one = _conv(inputs, one, 1, form)
        self.three = nn.Sequential(_conv(inputs, three_reduced, 1, form), _conv(three_reduced, three, 3, form))
        self.five = nn.Sequential(_conv(inputs, five_reduced, 1, form), _conv(five_reduced, five, large, form))
        self.pooled = nn.Sequential(nn.MaxPool2d(3, 1, 1, ceil_mode=True), _conv(inputs, pooled, 1, form))

    def forward(self, x: Tensor) -> Tensor:
        """Join the four branches."""
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pooled(x)], dim=1)


class _Head(TypedModule):
    """Average to 4 x 4, 1 x 1 convolution, two linear layers."""

    def __init__(self, inputs: int, width: int, *, hidden: int, classes: int, dropout: float, form: Form) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.AdaptiveAvgPool2d(4), _conv(inputs, width, 1, form), nn.Flatten(),
            nn.Linear(16 * width, hidden), nn.ReLU(inplace=True), nn.Dropout(dropout), nn.Linear(hidden, classes),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x)
        return logits


def _conv(inputs: int, outputs: int, kernel: int, form: Form, *, stride: int = 1) -> nn.Sequential:
    if form == "torchvision":
        return conv_norm_relu(inputs, outputs, kernel, stride=stride, eps=1e-3)
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2), nn.ReLU(inplace=True))


def _stem(channels: int, narrow: int, wide: int, form: Form, stem: Stem) -> nn.Sequential:
    if stem == "small":
        return nn.Sequential(_conv(channels, narrow, 3, form), _conv(narrow, wide, 3, form))
    norms = [nn.LocalResponseNorm(5), nn.LocalResponseNorm(5)] if form == "paper" else [nn.Identity(), nn.Identity()]
    return nn.Sequential(
        _conv(channels, narrow, 7, form, stride=2), nn.MaxPool2d(3, 2, ceil_mode=True), norms[0],
        _conv(narrow, narrow, 1, form), _conv(narrow, wide, 3, form), norms[1], nn.MaxPool2d(3, 2, ceil_mode=True),
    )  # fmt: skip


def _initialise(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
