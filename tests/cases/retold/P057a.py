import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


class MultiHeadRegressor(nn.Module):
    """One small head per target on a common trunk."""

    def __init__(self, d_in, hidden, targets):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(d_in, hidden), nn.ReLU(), nn.Dropout(0.1))
        self.targets = list(targets)
        self.heads = {}  # BUG
        # FIX: self.heads = nn.ModuleDict()
        for name in self.targets:
            self.heads[name] = self.make_head(hidden)  # BUG

    @staticmethod
    def make_head(hidden):
        return nn.Sequential(nn.Linear(hidden, hidden // 2), nn.ReLU(), nn.Linear(hidden // 2, 1))

    def forward(self, x):
        h = self.trunk(x)
        return {name: self.heads[name](h).squeeze(-1) for name in self.targets}


def multi_loss(pred, target):
    return sum(F.mse_loss(pred[k], target[k]) for k in target)


class Trainer:
    def __init__(self, args, names):
        self.names = names
        self.model = MultiHeadRegressor(10, args.hidden, names)
        self.opt = torch.optim.Adam(self.model.parameters(), lr=args.lr)

    def as_dict(self, y):
        return dict(zip(self.names, y.unbind(1)))

    def train_epoch(self, loader):
        self.model.train()
        for x, y in loader:
            loss = multi_loss(self.model(x), self.as_dict(y))
            self.opt.zero_grad()
            loss.backward()
            self.opt.step()
        return loss.item()

    @torch.no_grad()
    def evaluate(self, x, y):
        self.model.eval()
        return multi_loss(self.model(x), self.as_dict(y)).item()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--hidden", type=int, default=32)
    ap.add_argument("--lr", type=float, default=5e-3)
    ap.add_argument("--epochs", type=int, default=5)
    args = ap.parse_args()
    torch.manual_seed(0)
    x = torch.randn(256, 10)
    y = torch.stack([x[:, 0] + x[:, 1], x[:, 2] * 2, (x[:, 3] - x[:, 4]).abs()], dim=1)
    trainer = Trainer(args, ["density", "viscosity", "ph"])
    loader = DataLoader(TensorDataset(x[:200], y[:200]), 25, shuffle=True)
    for ep in range(args.epochs):
        train_loss = trainer.train_epoch(loader)
        print(f"epoch {ep} train {train_loss:.3f} val {trainer.evaluate(x[200:], y[200:]):.3f}")


if __name__ == "__main__":
    main()
