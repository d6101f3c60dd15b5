"""Two-tower retrieval trained with in-batch negatives, evaluated with hit rate."""
import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Tower(nn.Module):
    def __init__(self, n, dim):
        super().__init__()
        self.emb = nn.Embedding(n, dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, ids):
        return nn.functional.normalize(self.proj(self.emb(ids)), dim=-1)


class TwoTower(nn.Module):
    def __init__(self, users, items, dim, temperature):
        super().__init__()
        self.user, self.item = Tower(users, dim), Tower(items, dim)
        self.temperature = temperature

    def forward(self, u, i):
        return self.user(u) @ self.item(i).t() / self.temperature


class HitRate:
    """Share of test pairs whose item is among the k best."""

    def __init__(self, k):
        self.k = k
        self.positions = torch.range(0, k)  # BUG
        # FIX: self.positions = torch.arange(k)

    def __call__(self, scores, item):
        rank = (scores > scores.gather(1, item[:, None])).sum(dim=1)
        return (rank[:, None] == self.positions).any(dim=1).float().mean().item()


def make_pairs(n, users, items, seed):
    g = torch.Generator().manual_seed(seed)
    u = torch.randint(users, (n,), generator=g)
    i = (u * 3 + torch.randint(0, 5, (n,), generator=g)) % items
    return TensorDataset(u, i)


def train_epoch(model, loader, opt):
    model.train()
    total = 0.0
    for u, i in loader:
        logits = model(u, i)
        same = (i[:, None] == i[None, :]) & ~torch.eye(len(i), dtype=torch.bool)
        logits = logits.masked_fill(same, float("-inf"))
        loss = nn.functional.cross_entropy(logits, torch.arange(len(u)))
        opt.zero_grad()
        loss.backward()
        opt.step()
        total += loss.item()
    return total / len(loader)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--users", type=int, default=30)
    ap.add_argument("--items", type=int, default=50)
    ap.add_argument("--dim", type=int, default=16)
    ap.add_argument("--k", type=int, default=5)
    ap.add_argument("--epochs", type=int, default=5)
    args = ap.parse_args()
    torch.manual_seed(0)
    loader = DataLoader(make_pairs(512, args.users, args.items, 0), batch_size=32, shuffle=True)
    test_u, test_i = make_pairs(128, args.users, args.items, 1).tensors
    model = TwoTower(args.users, args.items, args.dim, temperature=0.1)
    opt = torch.optim.Adam(model.parameters(), lr=1e-2)
    metric = HitRate(args.k)
    for epoch in range(args.epochs):
        loss = train_epoch(model, loader, opt)
        model.eval()
        with torch.no_grad():
            scores = model(test_u, torch.arange(args.items))
        print(f"{epoch} loss {loss:.3f} hit@{args.k} {metric(scores, test_i):.3f}")


if __name__ == "__main__":
    main()
