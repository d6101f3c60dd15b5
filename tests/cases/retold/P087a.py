"""Siamese change detection between optical and radar patches (different sensors, one trunk width)."""
import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F


class SensorStem(nn.Module):
    def __init__(self, cin, width):
        super().__init__()
        self.conv = nn.Conv2d(cin, width, 3, padding=1, bias=False)

    def forward(self, x):
        return self.conv(x)


class ChangeNet(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.optical, self.radar = SensorStem(3, width), SensorStem(1, width)
        self.post = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(4))  # BUG
        # FIX: self.post_optical = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(4))
        # FIX: self.post_radar = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(4))
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(2 * width * 16, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, opt, sar):
        a, b = map(self.post, (self.optical(opt), self.radar(sar)))  # BUG
        # FIX: a, b = self.post_optical(self.optical(opt)), self.post_radar(self.radar(sar))
        return self.head(torch.cat([a, b], dim=1)).squeeze(1)


def sample(n):
    y = torch.randint(0, 2, (n,)).float()
    base = torch.rand(n, 1, 16, 16)
    moved = torch.where(y.view(-1, 1, 1, 1) > 0, base.flip(-1) + 0.5, base)
    return base.expand(-1, 3, -1, -1) * 0.5, 8 * moved + 4 + torch.randn(n, 1, 16, 16), y


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--width", type=int, default=8)
    p.add_argument("--steps", type=int, default=30)
    args = p.parse_args()
    torch.manual_seed(0)
    net = ChangeNet(args.width)
    opt = torch.optim.Adam(net.parameters(), lr=3e-3)
    for it in range(args.steps):
        net.train()
        o, s, y = sample(24)
        loss = F.binary_cross_entropy_with_logits(net(o, s), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
    net.eval()
    with torch.no_grad():
        o, s, y = sample(128)
        acc = ((net(o, s) > 0).float() == y).float().mean().item()
    print(f"loss {loss.item():.4f} acc {acc:.3f}")


if __name__ == "__main__":
    main()
