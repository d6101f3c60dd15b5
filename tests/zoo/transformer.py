"""Vision transformers: ViT-B/16 and Swin-T."""

import torch
from torch import Tensor, nn

from zoo.layers import MultiHeadAttention, Residual, mlp


class ViT(nn.Module):
    """Vision transformer with a class token and learned positions."""

    def __init__(
        self,
        *,
        image: int = 224,
        patch: int = 16,
        width: int = 768,
        depth: int = 12,
        heads: int = 12,
        num_classes: int = 1000,
    ) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, stride=patch)
        self.cls = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(1, (image // patch) ** 2 + 1, width))
        blocks: list[nn.Module] = []
        for _ in range(depth):
            for body in (MultiHeadAttention(width, heads), mlp(width, 4 * width)):
                blocks.append(Residual(nn.Sequential(nn.LayerNorm(width, eps=1e-6), body)))
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, 3, image, image) to (n, num_classes)."""
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.cls.expand(len(x), -1, -1), x), dim=1) + self.positions
        logits: Tensor = self.head(self.norm(self.blocks(x))[:, 0])
        return logits


class WindowAttention(nn.Module):
    """Attention within square windows, perhaps shifted, with relative position bias."""

    def __init__(self, width: int, heads: int, window: int, shift: int) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.attention = MultiHeadAttention(width, heads)
        self.table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        rows, columns = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
        place = torch.stack((rows.flatten(), columns.flatten()))
        offset = place[:, :, None] - place[:, None, :] + window - 1
        self.register_buffer("index", offset[0] * (2 * window - 1) + offset[1], persistent=False)
        self.index: Tensor

    def _windows(self, x: Tensor) -> Tensor:
        """Cut (n, h, w, c) into (n * windows, window * window, c)."""
        n, h, w, c = x.shape
        s = self.window
        return x.view(n, h // s, s, w // s, s, c).transpose(2, 3).reshape(-1, s * s, c)

    def _mask(self, h: int, w: int, like: Tensor) -> Tensor:
        """Forbid attention between pixels that only the shift made neighbours.

        The result is added to the scores and has the shape (windows, 1, s * s, s * s).
        """
        region = torch.zeros(1, h, w, 1, device=like.device, dtype=like.dtype)
        cuts = (slice(0, -self.window), slice(-self.window, -self.shift), slice(-self.shift, None))
        for row, rows in enumerate(cuts):
            for column, columns in enumerate(cuts):
                region[:, rows, columns] = 3 * row + column
        label = self._windows(region).squeeze(-1)
        apart = label[:, :, None] != label[:, None, :]
        return (apart * torch.tensor(-100.0, dtype=like.dtype, device=like.device)).unsqueeze(1)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape (n, h, w, c); h and w are multiples of the window."""
        n, h, w, c = x.shape
        s = self.window
        shifted = self.shift > 0 and min(h, w) > s
        bias = self.table[self.index.flatten()].view(s * s, s * s, -1).permute(2, 0, 1)[None]
        if shifted:
            x = torch.roll(x, (-self.shift, -self.shift), dims=(1, 2))
            bias = (bias + self._mask(h, w, x)).repeat(n, 1, 1, 1)
        out = self.attention(self._windows(x), bias)
        out = out.view(n, h // s, w // s, s, s, c).transpose(2, 3).reshape(n, h, w, c)
        return torch.roll(out, (self.shift, self.shift), dims=(1, 2)) if shifted else out


class PatchMerging(nn.Module):
    """Join 2 x 2 neighbours: half the resolution, twice the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduce = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, h, w, c) to (n, h / 2, w / 2, 2 c)."""
        corners = [x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)]
        out: Tensor = self.reduce(self.norm(torch.cat(corners, dim=-1)))
        return out


class Swin(nn.Module):
    """Swin transformer (version 1)."""

    def __init__(
        self,
        *,
        width: int = 96,
        depths: tuple[int, ...] = (2, 2, 6, 2),
        heads: tuple[int, ...] = (3, 6, 12, 24),
        window: int = 7,
        num_classes: int = 1000,
    ) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, stride=4)
        layers: list[nn.Module] = [nn.LayerNorm(width)]
        for index, (depth, num_heads) in enumerate(zip(depths, heads, strict=True)):
            if index:
                layers.append(PatchMerging(width))
                width *= 2
            for number in range(depth):
                shift = window // 2 if number % 2 else 0
                attention = WindowAttention(width, num_heads, window, shift)
                for body in (attention, mlp(width, 4 * width)):
                    layers.append(Residual(nn.Sequential(nn.LayerNorm(width), body)))
        self.layers = nn.Sequential(*layers, nn.LayerNorm(width))
        self.head = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, 3, h, w) to (n, num_classes); h and w are multiples of 224."""
        x = self.layers(self.patches(x).permute(0, 2, 3, 1))
        logits: Tensor = self.head(x.mean(dim=(1, 2)))
        return logits
