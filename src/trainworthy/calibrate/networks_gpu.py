"""Small networks of the kinds that people train: their hosts are timed while a GPU is measured.

Tensors are so small that the device waits for the host, and layers differ in kind and size as they do in networks: what
a processor has just done it does fastest, and a chain of equal layers takes half of what a network does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

OptimizerOf = Callable[[Any], torch.optim.Optimizer]
_SGD: OptimizerOf = partial(torch.optim.SGD, lr=1e-4, momentum=0.9, weight_decay=1e-4)
_ADAMW: OptimizerOf = partial(torch.optim.AdamW, lr=1e-5)
_FUSED: OptimizerOf = partial(torch.optim.AdamW, lr=1e-5, fused=True)


class Network(NamedTuple):
    """A model, the shape of its input, how it is optimized, and whether autocast is on."""

    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    optimizer: OptimizerOf
    low_precision: bool = False


def networks() -> Iterator[Network]:
    """Yield them; together they hold most operations of training."""
    image, tokens = (4, 3, 32, 32), (4, 32)
    yield Network("residual", _residual, image, _SGD)
    yield Network("residual, bf16", _residual, image, _SGD, low_precision=True)
    yield Network("inverted", _inverted, image, _SGD)
    yield Network("inverted, bf16", _inverted, image, _ADAMW, low_precision=True)
    yield Network("U-shaped", lambda: _UShaped((8, 16, 32)), image, _ADAMW)
    yield Network("generator", _generator, (4, 16, 1, 1), _ADAMW)
    yield Network("causal", lambda: _Causal(6, 64), tokens, _FUSED)
    yield Network("causal, bf16", lambda: _Causal(6, 64), tokens, _FUSED, low_precision=True)
    yield Network("encoder", _encoder, tokens, _ADAMW)
    yield Network("encoder, bf16", _encoder, tokens, _ADAMW, low_precision=True)
    yield Network("windows, bf16", lambda: _Windows(6, 32), image, _ADAMW, low_precision=True)
    yield Network("recurrent", lambda: _Recurrent(32), (4, 48), _ADAMW)


class _Sum(nn.Module):
    """A branch and what it is added to, which a stride or a width changes. (N, C, H, W) -> (N, C', H / s, W / s)."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            *_normed(c_in, c_out, 3, stride), nn.ReLU(inplace=True), *_normed(c_out, c_out, 3, 1)
        )
        same = c_in == c_out and stride == 1
        self.short = nn.Identity() if same else nn.Sequential(*_normed(c_in, c_out, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.branch(x) + self.short(x))


def _normed(c_in: int, c_out: int, kernel: int, stride: int, groups: int = 1) -> tuple[nn.Module, nn.Module]:
    conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return conv, nn.BatchNorm2d(c_out)


def _head(width: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10)]


def _residual() -> nn.Module:
    stem: list[nn.Module] = [*_normed(3, 16, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    blocks = [_Sum(a, b, s) for a, b, s in ((16, 16, 1), (16, 24, 2), (24, 24, 1), (24, 40, 2), (40, 40, 1))]
    return nn.Sequential(*stem, *blocks, *_head(40))


class _Gated(nn.Module):
    """An inverted residual: widened, one kernel for each channel, a gate over channels, narrowed."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        wide = 3 * c_in
        self.widen = nn.Sequential(*_normed(c_in, wide, 1, 1), nn.SiLU())
        self.deep = nn.Sequential(*_normed(wide, wide, 3, stride, groups=wide), nn.SiLU())
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(wide, c_in, 1), nn.SiLU(), nn.Conv2d(c_in, wide, 1), nn.Sigmoid()
        )
        self.narrow = nn.Sequential(*_normed(wide, c_out, 1, 1))
        self.same = c_in == c_out and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.deep(self.widen(x))
        y = self.narrow(y * self.gate(y))
        return x + y if self.same else y


class _Shuffled(nn.Module):
    """Half of the channels through a branch, then channels shuffled."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.branch = nn.Sequential(
            *_normed(half, half, 1, 1), nn.ReLU(), *_normed(half, half, 3, 1, groups=half), *_normed(half, half, 1, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        kept, other = x.chunk(2, 1)
        y = torch.cat((kept, self.branch(other)), 1)
        n, c, h, w = y.shape
        return y.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


def _inverted() -> nn.Module:
    gated = [_Gated(a, b, s) for a, b, s in ((8, 12, 2), (12, 12, 1), (12, 20, 2), (20, 20, 1))]
    return nn.Sequential(*_normed(3, 8, 3, 2), nn.SiLU(), *gated, _Shuffled(20), _Shuffled(20), *_head(20))


class _UShaped(nn.Module):
    """Down with max pooling, up with transposed convolutions, joined at each height."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        ins = (3, *widths[:-1])
        self.down = nn.ModuleList(self._twice(a, b) for a, b in zip(ins, widths, strict=True))
        ups = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, 2) for a, b in ups)
        self.join = nn.ModuleList(self._twice(2 * b, b) for _, b in ups)
        self.last = nn.Conv2d(widths[0], 1, 1)

    @staticmethod
    def _twice(c_in: int, c_out: int) -> nn.Module:
        return nn.Sequential(*_normed(c_in, c_out, 3, 1), nn.ReLU(), *_normed(c_out, c_out, 3, 1), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        kept: list[Tensor] = []
        for place, level in enumerate(self.down):
            x = level(F.max_pool2d(x, 2) if place else x)
            kept.append(x)
        kept.pop()
        for up, join in zip(self.up, self.join, strict=True):
            x = join(torch.cat((up(x), kept.pop()), 1))
        result: Tensor = self.last(x).mean((2, 3))
        return result


def _generator() -> nn.Module:
    layers: list[nn.Module] = [nn.ConvTranspose2d(16, 32, 4, 1, 0, bias=False), nn.BatchNorm2d(32), nn.ReLU()]
    for a, b in ((32, 16), (16, 8)):
        layers += [nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
    layers += [nn.ConvTranspose2d(8, 3, 4, 2, 1, bias=False), nn.Tanh()]
    for a, b in ((3, 8), (8, 16), (16, 32)):
        layers += [nn.Conv2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, *_head(32))


class _Attention(nn.Module):
    """Self-attention of 4 heads. (N, T, W) -> the same."""

    def __init__(self, width: int, *, causal: bool) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.causal = causal

    def forward(self, x: Tensor) -> Tensor:
        n, t, width = x.shape
        q, k, v = (each.view(n, t, 4, -1).transpose(1, 2) for each in self.qkv(x).split(width, -1))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        result: Tensor = self.out(y.transpose(1, 2).contiguous().view(n, t, width))
        return result


def _mlp(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width), nn.Dropout(0.1))


class _Causal(nn.Module):
    """A language model whose blocks norm first. (N, T) tokens -> (N T, 100)."""

    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        self.token, self.place = nn.Embedding(100, width), nn.Embedding(32, width)
        self.attend = nn.ModuleList(_Attention(width, causal=True) for _ in range(layers))
        self.mix = nn.ModuleList(_mlp(width) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 * layers + 1))
        self.head = nn.Linear(width, 100, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.token(tokens) + self.place(torch.arange(tokens.shape[1], device=tokens.device))
        for place, (attend, mix) in enumerate(zip(self.attend, self.mix, strict=True)):
            x = x + attend(self.norms[2 * place](x))
            x = x + mix(self.norms[2 * place + 1](x))
        result: Tensor = self.head(self.norms[-1](x)).flatten(0, 1)
        return result


def _encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(64, 4, 256, dropout=0.1, activation="gelu", batch_first=True)
    encoder = nn.TransformerEncoder(layer, 5, enable_nested_tensor=False)
    return nn.Sequential(nn.Embedding(100, 64), encoder, nn.Linear(64, 100), nn.Flatten(0, 1))


class _Windows(nn.Module):
    """Attention inside of windows that shift by turns, with a bias. (N, 3, 32, 32) -> (N, 10)."""

    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, width, 4, 4)
        self.qkv = nn.ModuleList(nn.Linear(width, 3 * width) for _ in range(layers))
        self.out = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.mix = nn.ModuleList(_mlp(width) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 * layers))
        self.bias = nn.Parameter(torch.zeros(layers, 49, 4))
        self.head = nn.Linear(width, 10)

    def _attend(self, x: Tensor, place: int) -> Tensor:
        n, side, _, width = x.shape
        x = x.view(n, 2, side // 2, 2, side // 2, width).permute(0, 1, 3, 2, 4, 5).reshape(-1, side * side // 4, width)
        q, k, v = self.qkv[place](x).reshape(x.shape[0], -1, 3, 4, width // 4).permute(2, 0, 3, 1, 4)
        tokens = x.shape[1]
        index = torch.zeros(tokens * tokens, dtype=torch.long, device=x.device)
        bias = self.bias[place][index].view(tokens, tokens, 4).permute(2, 0, 1).contiguous()
        weights = ((q * width**-0.5) @ k.transpose(-2, -1) + bias.unsqueeze(0)).softmax(-1)
        y: Tensor = self.out[place]((weights @ v).transpose(1, 2).reshape(x.shape))
        return y.view(n, 2, 2, side // 2, side // 2, width).permute(0, 1, 3, 2, 4, 5).reshape(n, side, side, width)

    def forward(self, image: Tensor) -> Tensor:
        x = self.patch(image).permute(0, 2, 3, 1)
        for place in range(len(self.mix)):
            y = self.norms[2 * place](x)
            y = torch.roll(y, (-2, -2), (1, 2)) if place % 2 else y
            x = x + self._attend(y, place)
            x = x + self.mix[place](self.norms[2 * place + 1](x))
        result: Tensor = self.head(x.mean((1, 2)))
        return result


class _Recurrent(nn.Module):
    """An LSTM of two layers, then a GRU of one, over tokens. (N, T) -> (N, 10)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(100, width)
        self.first = nn.LSTM(width, width, 2, batch_first=True)
        self.second = nn.GRU(width, width, batch_first=True)
        self.head = nn.Linear(width, 10)

    def forward(self, tokens: Tensor) -> Tensor:
        x, _ = self.second(self.first(self.embed(tokens))[0])
        result: Tensor = self.head(x[:, -1])
        return result
