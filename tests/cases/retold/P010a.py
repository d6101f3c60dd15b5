"""Segment bright blobs; loss on the band of uncertain pixels (PointRend-like refinement)."""
import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Blobs(Dataset):
    def __init__(self, n, size, seed):
        g = torch.Generator().manual_seed(seed)
        yy, xx = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
        cy, cx = torch.randint(5, size - 5, (2, n, 1, 1), generator=g)
        self.mask = (((yy - cy) ** 2 + (xx - cx) ** 2) < 16).float().unsqueeze(1)
        self.image = self.mask + 0.4 * torch.randn(n, 1, size, size, generator=g)

    def __len__(self):
        return len(self.image)

    def __getitem__(self, i):
        return self.image[i], self.mask[i]


class SegNet(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(),
            nn.Conv2d(width, 1, 1),
        )

    def forward(self, x):
        return self.net(x)


class BandLoss(nn.Module):
    def __init__(self, low, high, weight):
        super().__init__()
        self.low, self.high, self.weight = low, high, weight
        self.bce = nn.BCEWithLogitsLoss(reduction="none")

    def uncertain(self, prob):
        above = prob.gt(self.low)
        below = prob.lt(self.high)
        return above.add(below).eq(2)  # BUG
        # FIX: return above.logical_and(below)

    def forward(self, logits, mask):
        per_pixel = self.bce(logits, mask)
        band = self.uncertain(logits.detach().sigmoid()).float()
        extra = (per_pixel * band).sum() / band.sum().clamp(min=1.0)
        return per_pixel.mean() + self.weight * extra


def iou(logits, mask):
    pred = logits > 0
    inter = (pred & mask.bool()).sum()
    return (inter / (pred | mask.bool()).sum().clamp(min=1)).item()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--low", type=float, default=0.2)
    p.add_argument("--high", type=float, default=0.8)
    p.add_argument("--band-weight", type=float, default=0.5)
    p.add_argument("--epochs", type=int, default=4)
    args = p.parse_args()
    torch.manual_seed(0)
    loader = DataLoader(Blobs(64, 20, 0), batch_size=8, shuffle=True)
    test = Blobs(16, 20, 1)
    model, criterion = SegNet(8), BandLoss(args.low, args.high, args.band_weight)
    opt = torch.optim.Adam(model.parameters(), lr=1e-2)
    for epoch in range(args.epochs):
        model.train()
        for image, mask in loader:
            opt.zero_grad()
            loss = criterion(model(image), mask)
            loss.backward()
            opt.step()
        model.eval()
        with torch.no_grad():
            print(epoch, f"{loss.item():.4f} iou {iou(model(test.image), test.mask):.3f}")


if __name__ == "__main__":
    main()
