"""What the convolutional models share: a convolution with its norm and activation, a stem, a random skip."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from trainworthy.parts.module import TypedModule

Stem = Literal["imagenet", "small"]
"""How a network begins: as published, for images of about 224 pixels, or without the early strides, for 8 to 64."""


def conv_norm_relu(
    inputs: int, outputs: int, kernel: int = 3, *, stride: int = 1, padding: int | None = None, eps: float = 1e-5
) -> nn.Sequential:
    """Return convolution, batch norm and ReLU; the size stays at stride 1 unless a padding is given.

    Shapes:   (N, inputs, H, W) -> (N, outputs, H / stride, W / stride)

    >>> import torch
    >>> conv_norm_relu(3, 8, stride=2)(torch.zeros(1, 3, 6, 6)).shape
    torch.Size([1, 8, 3, 3])
    """
    padding = kernel // 2 if padding is None else padding
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False),
        nn.BatchNorm2d(outputs, eps=eps),
        nn.ReLU(inplace=True),
    )


class RandomSkip(TypedModule):
    """Stochastic depth: in training, a residual branch is dropped for a random share of the samples.

    What stays is divided by its probability, so that the expectation is that of evaluation.

    Shapes:   (N, ...) -> (N, ...)
    Source:   Huang et al. 2016 (arXiv 1603.09382); scaled in training as in torchvision's StochasticDepth, mode "row"

    >>> import torch
    >>> RandomSkip(0.5).eval()(torch.ones(2))
    tensor([1., 1.])
    """

    def __init__(self, drop: float) -> None:
        super().__init__()
        self.drop = drop

    def forward(self, x: Tensor) -> Tensor:
        """Drop whole samples of a branch."""
        if not self.training or self.drop == 0:
            return x
        stays = x.new_empty(x.shape[0], *(1,) * (x.dim() - 1)).bernoulli_(1 - self.drop)
        return x * stays / (1 - self.drop)
