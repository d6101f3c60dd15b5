import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


class PairDataset(Dataset):
    """user, item, rating"""

    def __init__(self, n, users, items, seed):
        g = torch.Generator().manual_seed(seed)
        self.u = torch.randint(users, (n,), generator=g)
        self.i = torch.randint(items, (n,), generator=g)
        taste = torch.Generator().manual_seed(42)
        p, q = torch.randn(users, 3, generator=taste), torch.randn(items, 3, generator=taste)
        self.r = 3 + (p[self.u] * q[self.i]).sum(1)

    def __len__(self):
        return len(self.r)

    def __getitem__(self, k):
        return self.u[k], self.i[k], self.r[k]


class MatrixFactorization(nn.Module):
    def __init__(self, users, items, dim):
        super().__init__()
        self.user, self.item = nn.Embedding(users, dim), nn.Embedding(items, dim)
        self.mu = nn.Parameter(torch.tensor(3.0))
        for emb in (self.user, self.item):
            nn.init.normal_(emb.weight, std=0.1)

    def forward(self, u, i):
        return self.mu + (self.user(u) * self.item(i)).sum(-1)


class Trainer:
    def __init__(self, model, cfg):
        self.model, self.cfg = model, cfg
        self.optimizer = torch.optim.Adam(model.parameters(), lr=cfg.lr)
        self.scheduler = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, cfg.gamma)

    def optimize(self, loss):
        # FIX+: self.optimizer.zero_grad()
        loss.backward()  # BUG
        self.optimizer.step()  # BUG

    def fit(self, loader, val):
        for epoch in range(self.cfg.epochs):
            self.model.train()
            for u, i, r in loader:
                self.optimize(F.mse_loss(self.model(u, i), r))
            self.scheduler.step()
            print(f"epoch {epoch} val rmse {self.rmse(val):.4f}")

    @torch.no_grad()
    def rmse(self, data):
        self.model.eval()
        return (self.model(data.u, data.i) - data.r).pow(2).mean().sqrt().item()


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--dim", type=int, default=8)
    ap.add_argument("--lr", type=float, default=1e-2)
    ap.add_argument("--gamma", type=float, default=0.95)
    ap.add_argument("--epochs", type=int, default=5)
    cfg = ap.parse_args()
    torch.manual_seed(0)
    train, val = PairDataset(600, 30, 20, 0), PairDataset(100, 30, 20, 1)
    Trainer(MatrixFactorization(30, 20, cfg.dim), cfg).fit(DataLoader(train, 50, shuffle=True), val)
