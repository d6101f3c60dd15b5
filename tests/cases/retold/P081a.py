"""Training with running averages kept by a meter class."""
import argparse
from collections import defaultdict
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


class AverageMeter:
    def __init__(self):
        self.reset()

    def reset(self):
        self.sum, self.count = 0.0, 0

    def update(self, value, n=1):
        self.sum = self.sum + value * n
        self.count += n

    @property
    def avg(self):
        return float(self.sum) / max(self.count, 1)


class MultiTaskNet(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(dim, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.cls, self.reg = nn.Linear(64, 3), nn.Linear(64, 1)

    def forward(self, x):
        h = self.trunk(x)
        return {"cls": self.cls(h), "reg": self.reg(h).squeeze(-1)}


class Trainer:
    def __init__(self, args, model):
        self.args, self.model = args, model
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr)
        self.meters = defaultdict(AverageMeter)

    def losses(self, batch):
        x, label, value = batch
        out = self.model(x)
        parts = {"cls": F.cross_entropy(out["cls"], label), "reg": F.mse_loss(out["reg"], value)}
        parts["total"] = parts["cls"] + self.args.reg_weight * parts["reg"]
        return parts

    def train(self, loader):
        for epoch in range(self.args.epochs):
            self.model.train()
            for batch in loader:
                parts = self.losses(batch)
                self.optimizer.zero_grad()
                parts["total"].backward()
                self.optimizer.step()
                for name, val in parts.items():
                    self.meters[name].update(val, n=len(batch[0]))  # BUG
                    # FIX: self.meters[name].update(val.item(), n=len(batch[0]))
            print(f"epoch {epoch}", {k: round(m.avg, 4) for k, m in self.meters.items()})
            for m in self.meters.values():
                m.reset()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--lr", type=float, default=3e-3)
    p.add_argument("--epochs", type=int, default=3)
    p.add_argument("--reg-weight", type=float, default=0.5)
    args = p.parse_args()
    torch.manual_seed(0)
    x = torch.randn(160, 10)
    label = (x[:, 0] > 0).long() + (x[:, 1] > 0.5).long()
    ds = TensorDataset(x, label, x[:, 2] - x[:, 3])
    Trainer(args, MultiTaskNet(10)).train(DataLoader(ds, batch_size=16, shuffle=True))


if __name__ == "__main__":
    main()
