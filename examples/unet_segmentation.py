"""U-Net for segmentation: skip connections, Dice plus cross-entropy with an ignored label."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset

IGNORE = 255


class Cells(Dataset):
    """Random discs on a noisy background; a border of one pixel is not labelled."""

    def __init__(self, size, side):
        self.size, self.side = size, side

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        g = torch.Generator().manual_seed(index)
        ys, xs = torch.meshgrid(torch.arange(self.side), torch.arange(self.side), indexing="ij")
        mask = torch.zeros(self.side, self.side, dtype=torch.long)
        for _ in range(4):
            cy, cx = (torch.rand(2, generator=g) * self.side).tolist()
            radius = 4 + torch.rand((), generator=g).item() * self.side / 8
            mask[(ys - cy) ** 2 + (xs - cx) ** 2 < radius**2] = 1
        image = mask.float() + 0.3 * torch.randn(3, self.side, self.side, generator=g)
        mask[0], mask[-1] = IGNORE, IGNORE
        return image, mask


def double_conv(i, o):
    return nn.Sequential(
        nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True),
        nn.Conv2d(o, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True),
    )  # fmt: skip


class Up(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.up = nn.ConvTranspose2d(i, o, 2, stride=2)
        self.conv = double_conv(2 * o, o)

    def forward(self, x, skip):
        x = self.up(x)
        dy, dx = skip.size(2) - x.size(2), skip.size(3) - x.size(3)
        x = F.pad(x, [dx // 2, dx - dx // 2, dy // 2, dy - dy // 2])
        return self.conv(torch.cat([skip, x], dim=1))


class UNet(nn.Module):
    def __init__(self, classes=2, width=64):
        super().__init__()
        sizes = [width * 2**i for i in range(5)]
        self.stem = double_conv(3, width)
        self.downs = nn.ModuleList(nn.Sequential(nn.MaxPool2d(2), double_conv(i, o)) for i, o in zip(sizes, sizes[1:]))
        self.ups = nn.ModuleList(Up(o, i) for i, o in zip(sizes[-2::-1], sizes[:0:-1]))
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x):
        skips = [self.stem(x)]
        for down in self.downs:
            skips.append(down(skips[-1]))
        x = skips.pop()
        for up in self.ups:
            x = up(x, skips.pop())
        return self.head(x)


def dice_loss(logits, target, eps=1.0):
    valid = target != IGNORE
    p = logits.softmax(1)[:, 1] * valid
    t = (target == 1).float()
    return 1 - (2 * (p * t).sum() + eps) / (p.sum() + t.sum() + eps)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--samples", type=int, default=64)
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    loader = DataLoader(Cells(args.samples, args.side), args.batch_size, shuffle=True)
    model = UNet(width=args.width).to(device)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-4, momentum=0.9, weight_decay=1e-8, foreach=True)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "min", patience=2)
    for epoch in range(args.epochs):
        total = 0.0
        for image, mask in loader:
            image = image.to(device, memory_format=torch.channels_last)
            mask = mask.to(device)
            logits = model(image)
            loss = F.cross_entropy(logits, mask, ignore_index=IGNORE) + dice_loss(logits, mask)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            total += loss.item()
        scheduler.step(total / len(loader))
        print(f"epoch {epoch}: loss {total / len(loader):.4f}, lr {optimizer.param_groups[0]['lr']:.2e}")


if __name__ == "__main__":
    main()
