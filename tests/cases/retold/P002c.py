"""Fit a small robust regressor of apartment rents (tabular)."""
import argparse

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class RentTable(Dataset):
    def __init__(self, rows: int, seed: int):
        rng = np.random.default_rng(seed)
        self.features = rng.normal(size=(rows, 7)).astype(np.float32)
        w = np.linspace(-1.0, 1.0, 7, dtype=np.float32)
        noise = 0.1 * rng.normal(size=rows).astype(np.float32)
        self.rent = self.features @ w + np.abs(self.features[:, 0]) + noise

    def __len__(self):
        return len(self.rent)

    def __getitem__(self, i):
        return self.features[i], self.rent[i]


class RentNet(nn.Module):
    def __init__(self, n_in: int, width: int):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(n_in, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.out = nn.Linear(width, 1)

    def forward(self, x):
        # soft per-row centring: (B, 7) - (B, 1)
        x = x - x.mean(dim=1, keepdim=True) * 0.1
        return self.out(self.body(x))


def charbonnier(estimate, truth, eps=1e-3):
    gap = torch.sub(estimate, truth)
    return gap.square().add(eps ** 2).sqrt().mean()


class Fitter:
    def __init__(self, net, criterion, lr):
        self.net, self.criterion = net, criterion
        self.optim = torch.optim.AdamW(net.parameters(), lr=lr)

    def epoch(self, loader):
        self.net.train()
        total, seen = 0.0, 0
        for feats, rent in loader:
            self.optim.zero_grad(set_to_none=True)
            loss = self.criterion(self.net(feats), rent)  # BUG
            # FIX: loss = self.criterion(self.net(feats).squeeze(1), rent)
            loss.backward()
            self.optim.step()
            total += loss.item() * len(rent)
            seen += len(rent)
        return total / seen

    @torch.no_grad()
    def mae(self, loader):
        self.net.eval()
        err, seen = 0.0, 0
        for feats, rent in loader:
            err += (self.net(feats)[:, 0] - rent).abs().sum().item()
            seen += len(rent)
        return err / seen


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--epochs", type=int, default=5)
    ap.add_argument("--lr", type=float, default=3e-3)
    args = ap.parse_args()
    torch.manual_seed(11)
    train = DataLoader(RentTable(512, 0), batch_size=64, shuffle=True)
    val = DataLoader(RentTable(128, 1), batch_size=64)
    fitter = Fitter(RentNet(7, 48), charbonnier, args.lr)
    for ep in range(args.epochs):
        print(f"epoch {ep}: train {fitter.epoch(train):.4f}  val mae {fitter.mae(val):.4f}")


if __name__ == "__main__":
    main()
