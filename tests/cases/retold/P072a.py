"""Trainer with mid-epoch validation."""
import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset, random_split


class ResidualMLP(nn.Module):
    def __init__(self, dim, hidden, n_out, p):
        super().__init__()
        self.inp = nn.Linear(dim, hidden)
        self.bn = nn.BatchNorm1d(hidden)
        self.mid = nn.Linear(hidden, hidden)
        self.drop = nn.Dropout(p)
        self.out = nn.Linear(hidden, n_out)

    def forward(self, x):
        h = F.relu(self.bn(self.inp(x)))
        h = h + self.drop(F.relu(self.mid(h)))
        return self.out(h)


class Evaluator:
    def __init__(self, net, loader):
        self.net = net
        self.loader = loader

    @torch.no_grad()
    def __call__(self):
        self.net.train(False)  # BUG
        correct = total = 0
        for x, y in self.loader:
            correct += (self.net(x).argmax(1) == y).sum().item()
            total += y.numel()
        # FIX+: self.net.train(True)
        return correct / total


class Trainer:
    def __init__(self, opts, net, train_loader, val_loader):
        self.opts = opts
        self.net = net
        self.train_loader = train_loader
        self.evaluate = Evaluator(net, val_loader)
        self.optim = torch.optim.AdamW(net.parameters(), lr=opts.lr)
        self.step = 0

    def train_epoch(self):
        self.net.train()
        for x, y in self.train_loader:
            loss = F.cross_entropy(self.net(x), y, label_smoothing=0.05)
            self.optim.zero_grad()
            loss.backward()
            self.optim.step()
            self.step += 1
            if self.step % self.opts.eval_every == 0:
                print(f"step {self.step} loss {loss.item():.4f} val acc {self.evaluate():.3f}")

    def run(self):
        for _ in range(self.opts.epochs):
            self.train_epoch()


def get_opts():
    p = argparse.ArgumentParser()
    p.add_argument("--lr", type=float, default=3e-3)
    p.add_argument("--epochs", type=int, default=3)
    p.add_argument("--eval-every", type=int, default=3)
    return p.parse_args()


if __name__ == "__main__":
    torch.manual_seed(21)
    x = torch.randn(200, 12)
    y = (x[:, :3].sum(1) > 0).long() + (x[:, 3] > 1).long()
    train_set, val_set = random_split(TensorDataset(x, y), [160, 40])
    Trainer(get_opts(), ResidualMLP(12, 32, 3, 0.3),
            DataLoader(train_set, 16, shuffle=True), DataLoader(val_set, 40)).run()
