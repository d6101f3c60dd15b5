"""Mixture of experts for multi-regime regression."""
import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Gate(nn.Module):
    """Mixing weights of the experts, (batch, experts)."""

    def __init__(self, dim, experts, axis):
        super().__init__()
        self.score = nn.Linear(dim, experts)
        self.normalize = nn.Softmax(dim=axis)

    def forward(self, x):
        return self.normalize(self.score(x))


class MoE(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.gate = Gate(cfg["dim"], cfg["experts"], cfg["gate_axis"])
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(cfg["dim"], cfg["hidden"]), nn.ReLU(), nn.Linear(cfg["hidden"], 1))
            for _ in range(cfg["experts"])
        )

    def forward(self, x):
        weights = self.gate(x)
        outs = torch.cat([e(x) for e in self.experts], dim=1)
        return (weights * outs).sum(dim=1), weights


def default_config():
    return {
        "dim": 4,
        "experts": 3,
        "hidden": 16,
        "gate_axis": 0,  # BUG
        # FIX: "gate_axis": -1,
        "balance": 1e-2,
        "lr": 1e-2,
    }


def balance_penalty(weights):
    load = weights.mean(dim=0)
    return (load * load).sum() * weights.size(1)


def make_data(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 4, generator=g)
    y = torch.where(x[:, 0] > 0.4, 2 * x[:, 1], torch.where(x[:, 0] < -0.4, -x[:, 2], x[:, 3] ** 2))
    return TensorDataset(x, y)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--epochs", type=int, default=6)
    ap.add_argument("--batch-size", type=int, default=32)
    args = ap.parse_args()
    torch.manual_seed(0)
    cfg = default_config()
    model = MoE(cfg)
    opt = torch.optim.Adam(model.parameters(), lr=cfg["lr"])
    train = DataLoader(make_data(256, 0), batch_size=args.batch_size, shuffle=True)
    test = DataLoader(make_data(64, 1), batch_size=args.batch_size)
    for epoch in range(args.epochs):
        model.train()
        for x, y in train:
            pred, weights = model(x)
            loss = nn.functional.mse_loss(pred, y) + cfg["balance"] * balance_penalty(weights)
            opt.zero_grad()
            loss.backward()
            opt.step()
        model.eval()
        with torch.no_grad():
            mse = sum(nn.functional.mse_loss(model(x)[0], y).item() * len(y) for x, y in test)
        print(epoch, f"{loss.item():.4f} {mse / len(test.dataset):.4f}")


if __name__ == "__main__":
    main()
