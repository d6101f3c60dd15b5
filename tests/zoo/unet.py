"""U-Net with batch norm and padded convolutions, upsampling by transposed convolution."""

import torch
from torch import Tensor, nn

from zoo.layers import conv_norm


def _double(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(conv_norm(in_channels, out_channels, 3), conv_norm(out_channels, out_channels, 3))


class UNet(nn.Module):
    """U-Net; sizes that are no multiple of 2**depth are padded on the way up."""

    def __init__(self, *, in_channels: int = 3, num_classes: int = 2, base: int = 64, depth: int = 4) -> None:
        super().__init__()
        widths = [base * 2**level for level in range(depth + 1)]
        self.pool = nn.MaxPool2d(2)
        self.down = nn.ModuleList(
            _double(before, after) for before, after in zip([in_channels, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, stride=2) for w in widths[-2::-1])
        self.join = nn.ModuleList(_double(2 * w, w) for w in widths[-2::-1])
        self.head = nn.Conv2d(base, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in_channels, h, w) to (n, num_classes, h, w)."""
        skips: list[Tensor] = []
        for index, block in enumerate(self.down):
            x = block(self.pool(x) if index else x)
            skips.append(x)
        skips.pop()
        for up, join in zip(self.up, self.join, strict=True):
            skip = skips.pop()
            x = up(x)
            dh, dw = skip.shape[-2] - x.shape[-2], skip.shape[-1] - x.shape[-1]
            if dh or dw:
                x = nn.functional.pad(x, (dw // 2, dw - dw // 2, dh // 2, dh - dh // 2))
            x = join(torch.cat((skip, x), dim=1))
        scores: Tensor = self.head(x)
        return scores
