"""Rating prediction with biased matrix factorisation."""
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


@dataclass
class Config:
    n_users: int = 40
    n_items: int = 30
    dim: int = 8
    batch_size: int = 32
    epochs: int = 3
    lr: float = 0.02
    l2: float = 1e-4


class BiasedMF(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.user = nn.Embedding(cfg.n_users, cfg.dim)
        self.item = nn.Embedding(cfg.n_items, cfg.dim)
        self.user_bias = nn.Embedding(cfg.n_users, 1)
        self.item_bias = nn.Embedding(cfg.n_items, 1)
        self.offset = nn.Parameter(torch.zeros(1))
        for emb in (self.user, self.item):
            nn.init.normal_(emb.weight, std=0.1)
        for emb in (self.user_bias, self.item_bias):
            nn.init.zeros_(emb.weight)

    def forward(self, u, i):
        dot = (self.user(u) * self.item(i)).sum(dim=-1, keepdim=True)
        return dot + self.user_bias(u) + self.item_bias(i) + self.offset

    def penalty(self, u, i):
        return self.user(u).pow(2).sum(1).mean() + self.item(i).pow(2).sum(1).mean()


class SquaredError(nn.Module):
    def forward(self, estimate, rating):
        residual = rating.sub(estimate)  # BUG
        # FIX: residual = rating.sub(estimate.squeeze(-1))
        return residual.square().mean()


def make_ratings(cfg, n, seed):
    g = torch.Generator().manual_seed(seed)
    u = torch.randint(cfg.n_users, (n,), generator=g)
    i = torch.randint(cfg.n_items, (n,), generator=g)
    r = 3.0 + torch.sin(u.float()) + 0.5 * torch.cos(i.float()) + 0.1 * torch.randn(n, generator=g)
    return TensorDataset(u, i, r.clamp(1, 5))


def run_epoch(model, loader, criterion, opt, cfg):
    model.train()
    running = 0.0
    for u, i, r in loader:
        opt.zero_grad()
        loss = criterion(model(u, i), r)
        (loss + cfg.l2 * model.penalty(u, i)).backward()
        opt.step()
        running += loss.item() * r.numel()
    return running / len(loader.dataset)


def rmse(model, loader):
    model.eval()
    se, n = 0.0, 0
    with torch.no_grad():
        for u, i, r in loader:
            se += (model(u, i) - r[:, None]).pow(2).sum().item()
            n += len(r)
    return (se / n) ** 0.5


def main():
    torch.manual_seed(0)
    cfg = Config()
    train = DataLoader(make_ratings(cfg, 400, 0), batch_size=cfg.batch_size, shuffle=True)
    test = DataLoader(make_ratings(cfg, 100, 1), batch_size=cfg.batch_size)
    model, criterion = BiasedMF(cfg), SquaredError()
    opt = torch.optim.Adam(model.parameters(), lr=cfg.lr)
    for epoch in range(cfg.epochs):
        print(epoch, round(run_epoch(model, train, criterion, opt, cfg), 4))
    print("rmse", round(rmse(model, test), 4))


if __name__ == "__main__":
    main()
