"""Training steps whose time is predicted and measured: networks as people train them, at sizes a CPU can do.

None of these shapes is measured by ``trainworthy calibrate``. A case is a function that returns a step to call; data
are ready before, as a data loader would have them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import benchmarks.common  # noqa: F401  # puts tests/ on the path
from zoo import small
from zoo.layers import Residual, classifier, conv_norm, mlp
from zoo.mobile import inverted_residual
from zoo.resnet import basic_block
from zoo.transformer import ViT
from zoo.unet import UNet

Step = Callable[[], Any]
_SGD = partial(torch.optim.SGD, lr=0.01)
_MOMENTUM = partial(torch.optim.SGD, lr=0.01, momentum=0.9, weight_decay=1e-4)
_ADAMW = partial(torch.optim.AdamW, lr=1e-3)


def _step(
    model: nn.Module, loss_fn: Callable[[], Tensor], make_optimizer: Any, dtype: torch.dtype | None = None
) -> Step:
    optimizer = make_optimizer(model.parameters())

    def step() -> float:
        optimizer.zero_grad()
        with nullcontext() if dtype is None else torch.autocast("cpu", dtype):
            loss = loss_fn()
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return step


def _classify(model: nn.Module, x: Tensor, classes: int, make_optimizer: Any, dtype: torch.dtype | None = None) -> Step:
    y = torch.randint(classes, (len(x),))
    return _step(model, lambda: F.cross_entropy(model(x), y), make_optimizer, dtype)


def _images(batch: int, side: int, channels: int = 3) -> Tensor:
    return torch.randn(batch, channels, side, side)


def mlp_sgd(batch: int) -> Step:
    """Digits: three linear layers, plain SGD."""
    model = nn.Sequential(nn.Linear(784, 500), nn.ReLU(), nn.Linear(500, 300), nn.ReLU(), nn.Linear(300, 10))
    return _classify(model, torch.randn(batch, 784), 10, _SGD)


def mlp_norm_adamw(batch: int) -> Step:
    """Table data: layer norm, GELU, dropout, AdamW."""
    layers: list[nn.Module] = []
    width = 96
    for _ in range(4):
        layers += [nn.Linear(width, 640), nn.LayerNorm(640), nn.GELU(), nn.Dropout(0.1)]
        width = 640
    return _classify(nn.Sequential(*layers, nn.Linear(width, 20)), torch.randn(batch, 96), 20, _ADAMW)


def cnn(batch: int) -> Step:
    """LeNet-like network on small images, SGD with momentum."""
    model = nn.Sequential(
        nn.Conv2d(1, 20, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10),
    )  # fmt: skip
    return _classify(model, _images(batch, 28, 1), 10, _MOMENTUM)


def cnn_batch_norm(batch: int) -> Step:
    """VGG-like network with batch norm."""
    model = nn.Sequential(
        conv_norm(3, 24, 3), conv_norm(24, 24, 3), nn.MaxPool2d(2), conv_norm(24, 56, 3), nn.MaxPool2d(2),
        conv_norm(56, 112, 3), classifier(112, 100),
    )  # fmt: skip
    return _classify(model, _images(batch, 48), 100, _MOMENTUM)


def resnet_small(batch: int) -> Step:
    """ResNet-14 for 32 x 32 images, AdamW."""
    blocks: list[nn.Module] = [conv_norm(3, 16, 3)]
    channels = 16
    for width in (16, 32, 64):
        for number in range(2):
            blocks.append(basic_block(channels, width, 2 if number == 0 and width > channels else 1))
            channels = width
    return _classify(nn.Sequential(*blocks, classifier(64, 10)), _images(batch, 32), 10, _ADAMW)


def resnet_wide(batch: int) -> Step:
    """The first two stages of ResNet-18, SGD with momentum."""
    blocks = [basic_block(64, 64, 1), basic_block(64, 64, 1), basic_block(64, 128, 2), basic_block(128, 128, 1)]
    model = nn.Sequential(conv_norm(3, 64, 7, stride=2), nn.MaxPool2d(3, 2, 1), *blocks, classifier(128, 50))
    return _classify(model, _images(batch, 112), 50, _MOMENTUM)


def mobile(batch: int) -> Step:
    """Inverted residuals with depthwise convolutions."""
    blocks = [
        inverted_residual(16, 96, 24, kernel_size=3, stride=2, activation=nn.ReLU6),
        inverted_residual(24, 144, 24, kernel_size=3, stride=1, activation=nn.ReLU6),
        inverted_residual(24, 144, 40, kernel_size=5, stride=2, activation=nn.ReLU6),
        inverted_residual(40, 240, 40, kernel_size=5, stride=1, activation=nn.ReLU6),
    ]
    return _classify(
        nn.Sequential(conv_norm(3, 16, 3, stride=2), *blocks, classifier(40, 10)), _images(batch, 96), 10, _MOMENTUM
    )


def unet(batch: int) -> Step:
    """U-Net with a mask loss, AdamW."""
    x = _images(batch, 80)
    target = (x.mean(dim=1, keepdim=True) > 0).float()
    model = UNet(num_classes=1, base=12)
    return _step(model, lambda: F.binary_cross_entropy_with_logits(model(x), target), _ADAMW)


class _MaskedAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.qkv, self.out = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        q, k, v = (
            t.view(batch, length, self.heads, -1).transpose(1, 2) for t in self.qkv(x).split(width, dim=2)
        )  # fmt: skip
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).reshape(batch, length, width))  # type: ignore[no-any-return]


class _Gpt(nn.Module):
    def __init__(self, vocabulary: int, length: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*[
            nn.Sequential(
                Residual(nn.Sequential(nn.LayerNorm(width), _MaskedAttention(width, heads))),
                Residual(nn.Sequential(nn.LayerNorm(width), mlp(width, 4 * width))),
            )
            for _ in range(depth)
        ])  # fmt: skip
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens) + self.places(torch.arange(tokens.shape[1]))
        return self.head(self.norm(self.blocks(x)))  # type: ignore[no-any-return]


def gpt(batch: int, dtype: torch.dtype | None = None) -> Step:
    """Causal language model, AdamW."""
    model = _Gpt(vocabulary=3000, length=96, width=224, depth=4, heads=4)
    tokens = torch.randint(3000, (batch, 97))

    def loss() -> Tensor:
        return F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())

    return _step(model, loss, _ADAMW, dtype)


def gpt_characters(batch: int) -> Step:
    """Character model: a small vocabulary, a small width."""
    model = _Gpt(vocabulary=65, length=64, width=96, depth=6, heads=6)
    tokens = torch.randint(65, (batch, 65))
    return _step(model, lambda: F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten()), _ADAMW)


def bert(batch: int) -> Step:
    """PyTorch's own encoder layers over tokens, masked-token loss, AdamW."""
    layer = nn.TransformerEncoderLayer(160, 4, 512, dropout=0.1, activation="gelu", batch_first=True)
    model = nn.Sequential(nn.Embedding(2000, 160), nn.TransformerEncoder(layer, 3), nn.Linear(160, 2000))
    tokens = torch.randint(2000, (batch, 80))
    return _step(model, lambda: F.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten()), _ADAMW)


def vit(batch: int) -> Step:
    """Vision transformer on 64 x 64 images."""
    model = ViT(image=64, patch=8, width=144, depth=4, heads=4, num_classes=20)
    return _classify(model, _images(batch, 64), 20, _ADAMW)


def lstm(batch: int) -> Step:
    """Two LSTM layers over tokens, AdamW."""
    model = small.RecurrentClassifier(nn.LSTM, vocabulary=3000, width=96, classes=5)
    return _classify(model, torch.randint(3000, (batch, 50)), 5, _ADAMW)


def gru(batch: int) -> Step:
    """Two GRU layers over tokens, SGD with momentum."""
    model = small.RecurrentClassifier(nn.GRU, vocabulary=3000, width=80, classes=5)
    return _classify(model, torch.randint(3000, (batch, 30)), 5, _MOMENTUM)


class _Vae(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.mean, self.log_variance = nn.Linear(784, 400), nn.Linear(400, 20), nn.Linear(400, 20)
        self.down, self.out = nn.Linear(20, 400), nn.Linear(400, 784)

    def loss(self, x: Tensor) -> Tensor:
        h = torch.relu(self.up(x))
        mean, log_variance = self.mean(h), self.log_variance(h)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        y = torch.sigmoid(self.out(torch.relu(self.down(z))))
        divergence = -0.5 * torch.sum(1 + log_variance - mean.pow(2) - log_variance.exp())
        return F.binary_cross_entropy(y, x, reduction="sum") + divergence


def vae(batch: int) -> Step:
    """Variational autoencoder on digits, Adam."""
    model, x = _Vae(), torch.rand(batch, 784)
    return _step(model, lambda: model.loss(x), partial(torch.optim.Adam, lr=1e-3))


def gan(batch: int) -> Step:
    """DCGAN: two networks, two optimizers, transposed convolutions."""
    generator = nn.Sequential(
        nn.ConvTranspose2d(64, 96, 4, 1, 0, bias=False), nn.BatchNorm2d(96), nn.ReLU(),
        nn.ConvTranspose2d(96, 48, 4, 2, 1, bias=False), nn.BatchNorm2d(48), nn.ReLU(),
        nn.ConvTranspose2d(48, 24, 4, 2, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU(),
        nn.ConvTranspose2d(24, 3, 4, 2, 1, bias=False), nn.Tanh(),
    )  # fmt: skip
    critic = nn.Sequential(
        nn.Conv2d(3, 24, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(24, 48, 4, 2, 1), nn.BatchNorm2d(48), nn.LeakyReLU(0.2),
        nn.Conv2d(48, 1, 8), nn.Flatten(0),
    )  # fmt: skip
    adam = partial(torch.optim.Adam, lr=2e-4, betas=(0.5, 0.999))
    first, second = adam(critic.parameters()), adam(generator.parameters())
    real, ones, zeros = _images(batch, 32), torch.ones(batch), torch.zeros(batch)
    judge = F.binary_cross_entropy_with_logits

    def step() -> float:
        fake = generator(torch.randn(batch, 64, 1, 1))
        first.zero_grad()
        (judge(critic(real), ones) + judge(critic(fake.detach()), zeros)).backward()
        first.step()
        second.zero_grad()
        loss = judge(critic(fake), ones)
        loss.backward()
        second.step()
        return float(loss.item())

    return step


def autoencoder(batch: int) -> Step:
    """Convolutional autoencoder with upsampling, mean squared error."""
    model = nn.Sequential(
        nn.Conv2d(3, 20, 3, 2, 1), nn.ReLU(), nn.Conv2d(20, 40, 3, 2, 1), nn.ReLU(),
        nn.Upsample(scale_factor=2), nn.Conv2d(40, 20, 3, 1, 1), nn.ReLU(), nn.Upsample(scale_factor=2),
        nn.Conv2d(20, 3, 3, 1, 1),
    )  # fmt: skip
    x = _images(batch, 64)
    return _step(model, lambda: F.mse_loss(model(x), x), _ADAMW)


def word_vectors(batch: int) -> Step:
    """Skip-gram with a softmax over samples: the gradient of a large table is dense."""
    table, context = nn.Embedding(20000, 72), nn.Embedding(20000, 72)
    model = nn.ModuleList([table, context])
    words, near = torch.randint(20000, (batch,)), torch.randint(20000, (batch, 12))

    def loss() -> Tensor:
        scores = torch.bmm(context(near), table(words).unsqueeze(2)).squeeze(2)
        return -F.logsigmoid(scores).mean()

    return _step(model, loss, _SGD)


class _Mixer(nn.Module):
    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.across, self.within = mlp(tokens, 2 * tokens), mlp(width, 3 * width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.across(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.within(self.norm2(x))  # type: ignore[no-any-return]


def mixer(batch: int) -> Step:
    """MLP-Mixer on 48 x 48 images."""
    model = nn.Sequential(
        nn.Conv2d(3, 120, 6, 6), nn.Flatten(2), _Swap(),
        *[_Mixer(64, 120) for _ in range(4)], small.MeanPool(), nn.Linear(120, 30),
    )  # fmt: skip
    return _classify(model, _images(batch, 48), 30, _ADAMW)


class _Swap(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)


def regression(batch: int) -> Step:
    """A tiny network: nothing but overhead."""
    model = nn.Sequential(nn.Linear(13, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))
    x, y = torch.randn(batch, 13), torch.randn(batch, 1)
    return _step(model, lambda: F.mse_loss(model(x), y), _ADAMW)


CASES: dict[str, Callable[[], Step]] = {
    f"{make.__name__}-{batch}": partial(make, batch)
    for make, batches in (
        (mlp_sgd, (32, 300)), (mlp_norm_adamw, (200,)), (regression, (50,)), (cnn, (24, 200)),
        (cnn_batch_norm, (6, 40)), (resnet_small, (10, 48)), (resnet_wide, (6,)), (mobile, (12,)), (unet, (3,)),
        (gpt, (2, 12)), (gpt_characters, (10,)), (bert, (12,)), (vit, (20,)), (lstm, (6, 40)), (gru, (30,)),
        (vae, (100,)), (gan, (25,)), (autoencoder, (20,)), (word_vectors, (700,)), (mixer, (24,)),
    )
    for batch in batches
}  # fmt: skip
CASES["gpt_bf16-8"] = partial(gpt, 8, torch.bfloat16)
