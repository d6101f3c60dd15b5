"""ResNet: residual blocks, plain (18, 34) or with a bottleneck (50, 101, 152)."""

from __future__ import annotations

from torch import Tensor, nn

from trainworthy.errors import UsageError
from trainworthy.parts.models.layers import Stem, conv_norm_relu
from trainworthy.parts.module import TypedModule

_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


class ResNet(TypedModule):
    """ResNet-18, 34, 50, 101 or 152.

    Shapes:   (N, channels, H, W) -> logits (N, classes); the features are 1/32 of the size, 1/8 with the small stem
    Source:   He et al. 2015 (arXiv 1512.03385), table 1, with the stride in the 3 x 3 convolution, as in
              torchvision 0.28, which publishes 11,689,512, 21,797,672, 25,557,032, 44,549,160 and 60,192,808 parameters

    Args:
        depth: 18, 34, 50, 101 or 152.
        classes: Number of classes.
        channels: Channels of the image.
        width: Channels of the first stage; 64 as published.
        stem: ``small`` begins with a 3 x 3 convolution at stride 1 and no pool, as the paper does for CIFAR.
        zero_residual: The last norm of each block begins at 0, so that each block begins as the identity
            (Goyal et al. 2017, arXiv 1706.02677, section 5.1).

    Raises:
        UsageError: If there is no such depth.

    >>> import torch
    >>> ResNet(18, classes=10, channels=1, width=4, stem="small")(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self, depth: int = 50, *, classes: int = 1000, channels: int = 3, width: int = 64, stem: Stem = "imagenet",
        zero_residual: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        if depth not in _BLOCKS:
            raise UsageError(f"There is no ResNet of depth {depth}.", fix="Known: 18, 34, 50, 101, 152.")
        if stem == "imagenet":
            first = conv_norm_relu(channels, width, 7, stride=2)
            self.stem = nn.Sequential(first, nn.MaxPool2d(3, 2, 1))
        else:
            self.stem = conv_norm_relu(channels, width)
        bottleneck, inputs, blocks = depth >= 50, width, []
        for stage, count in enumerate(_BLOCKS[depth]):
            for index in range(count):
                stride = 2 if stage > 0 and index == 0 else 1
                block = ResidualBlock(inputs, width * 2**stage, stride=stride, bottleneck=bottleneck)
                blocks.append(block)
                inputs = block.outputs
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if zero_residual:
            for block in blocks:
                nn.init.zeros_(block.branch.get_parameter(f"{len(block.branch) - 1}.weight"))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self.classifier(self.blocks(self.stem(x)))
        return logits


class ResidualBlock(TypedModule):
    """``relu(shortcut(x) + branch(x))``; the shortcut is a 1 x 1 convolution where the shape changes.

    Shapes:   (N, inputs, H, W) -> (N, outputs, H / stride, W / stride); outputs is 4 width with a bottleneck

    Args:
        inputs: Channels that come in.
        width: Channels of the 3 x 3 convolutions.
        stride: Stride of the block.
        bottleneck: 1 x 1, 3 x 3, 1 x 1 instead of two 3 x 3.

    >>> import torch
    >>> ResidualBlock(4, 8, stride=2)(torch.zeros(1, 4, 6, 6)).shape
    torch.Size([1, 8, 3, 3])
    """

    def __init__(self, inputs: int, width: int, *, stride: int = 1, bottleneck: bool = False) -> None:
        super().__init__()
        self.outputs = 4 * width if bottleneck else width
        if bottleneck:
            before = [conv_norm_relu(inputs, width, 1), conv_norm_relu(width, width, stride=stride)]
            last = nn.Conv2d(width, self.outputs, 1, bias=False)
        else:
            before = [conv_norm_relu(inputs, width, stride=stride)]
            last = nn.Conv2d(width, self.outputs, 3, padding=1, bias=False)
        self.branch = nn.Sequential(*before, last, nn.BatchNorm2d(self.outputs))
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != self.outputs:
            norm = nn.BatchNorm2d(self.outputs)
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, self.outputs, 1, stride, bias=False), norm)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Add the branch to the shortcut."""
        out: Tensor = self.relu(self.branch(x) + self.shortcut(x))
        return out
