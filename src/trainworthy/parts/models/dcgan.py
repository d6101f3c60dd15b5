"""DCGAN: a generator of transposed convolutions against a discriminator of strided ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainworthy.errors import UsageError
from trainworthy.parts.module import TypedModule


class Generator(TypedModule):
    """Noise to image.

    Shapes:   (N, latent) -> (N, channels, size, size), each value between -1 and 1
    Source:   Radford et al. 2016 (arXiv 1511.06434), section 3 and figure 1, in the width of the DCGAN of
              pytorch/examples: 3,576,704 parameters

    Args:
        latent: Numbers of noise.
        size: Pixels a side, a power of two of at least 8.
        channels: Channels of the image.
        width: Channels of the last hidden layer; doubled with each halving of the size.

    Raises:
        UsageError: If the size is not such a power.

    >>> Generator(size=8, channels=1, width=4)(torch.zeros(2, 100)).shape
    torch.Size([2, 1, 8, 8])
    """

    def __init__(self, *, latent: int = 100, size: int = 64, channels: int = 3, width: int = 64) -> None:
        super().__init__()
        outputs = width * 2 ** (_doublings(size) - 1)
        layers = [nn.ConvTranspose2d(latent, outputs, 4, 1, 0, bias=False), *_norm(outputs)]
        while outputs > width:
            layers += [nn.ConvTranspose2d(outputs, outputs // 2, 4, 2, 1, bias=False), *_norm(outputs // 2)]
            outputs //= 2
        layers += [nn.ConvTranspose2d(width, channels, 4, 2, 1, bias=False), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Make images of noise."""
        images: Tensor = self.layers(x[:, :, None, None])
        return images


class Discriminator(TypedModule):
    """Image to one logit: is it real?

    No sigmoid at the end: the losses take logits.

    Shapes:   (N, channels, size, size) -> (N,)
    Source:   as :class:`Generator`: 2,765,568 parameters

    Args:
        size: Pixels a side, a power of two of at least 8.
        channels: Channels of the image.
        width: Channels of the first layer, doubled with each halving of the size.
        batch_norm: As published; without it for a gradient penalty, which is of each sample alone.

    Raises:
        UsageError: If the size is not such a power.

    >>> Discriminator(size=8, channels=1, width=4)(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2])
    """

    def __init__(self, *, size: int = 64, channels: int = 3, width: int = 64, batch_norm: bool = True) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True)]
        for _ in range(_doublings(size) - 1):
            layers.append(nn.Conv2d(width, 2 * width, 4, 2, 1, bias=not batch_norm))
            layers += [nn.BatchNorm2d(2 * width)] if batch_norm else []
            layers.append(nn.LeakyReLU(0.2, inplace=True))
            width *= 2
        layers.append(nn.Conv2d(width, 1, 4, 1, 0, bias=False))
        self.layers = nn.Sequential(*layers)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logit that an image is real."""
        logits: Tensor = self.layers(x)
        return logits.flatten()


class Gan(TypedModule):
    """Both networks in one module, as an engine with one model and two optimizers wants them.

    Shapes:   noise (N, latent) -> images

    >>> gan = Gan(Generator(size=8, channels=1, width=4), Discriminator(size=8, channels=1, width=4))
    >>> gan.discriminator(gan(torch.randn(2, 100))).shape
    torch.Size([2])
    """

    def __init__(self, generator: nn.Module, discriminator: nn.Module) -> None:
        super().__init__()
        self.generator, self.discriminator = generator, discriminator

    def forward(self, noise: Tensor) -> Tensor:
        """Make images."""
        images: Tensor = self.generator(noise)
        return images


def latent_noise(images: Tensor, *, latent: int = 100, generator: torch.Generator | None = None) -> Tensor:
    """Draw standard normal noise for as many samples as there are images.

    Shapes:   (N, ...) -> (N, latent)

    >>> latent_noise(torch.zeros(2, 3, 8, 8), latent=5).shape
    torch.Size([2, 5])
    """
    return torch.randn(images.shape[0], latent, device=images.device, dtype=images.dtype, generator=generator)


def _doublings(size: int) -> int:
    if size < 8 or size & (size - 1):
        raise UsageError(f"size is {size}; it must be a power of two of at least 8.")
    return size.bit_length() - 3


def _norm(channels: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]


def _initialise(model: nn.Module) -> None:
    """Draw the weights from N(0, 0.02), the scales of the norms from N(1, 0.02)."""
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
