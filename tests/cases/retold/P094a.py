"""Click-through model on an in-memory event log."""
import argparse
import random
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset


class EventLog(Dataset):
    def __init__(self, n, seed):
        rng = random.Random(seed)
        self.events = [{"user": rng.randrange(50), "item": rng.randrange(80)} for _ in range(n)]  # BUG
        # FIX: events = [(rng.randrange(50), rng.randrange(80)) for _ in range(n)]
        # FIX: self.events = torch.tensor(events, dtype=torch.int32)

    def __len__(self):
        return len(self.events)

    def __getitem__(self, i):
        e = self.events[i]  # BUG
        # FIX: user, item = self.events[i].tolist()
        user, item = e["user"], e["item"]  # BUG
        # FIX:
        return user, item, float((user + item) % 3 == 0)


class TwoTower(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.user, self.item = nn.Embedding(50, dim), nn.Embedding(80, dim)
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, user, item):
        return (self.user(user) * self.item(item)).sum(-1) + self.bias


def train(model, loader, args):
    opt = torch.optim.Adam(model.parameters(), lr=args.lr)
    criterion = nn.BCEWithLogitsLoss()
    for epoch in range(args.epochs):
        model.train()
        for user, item, click in loader:
            loss = criterion(model(user, item), click.float())
            opt.zero_grad()
            loss.backward()
            opt.step()
        print(f"epoch {epoch} loss {loss.item():.4f}")


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--events", type=int, default=20000)
    p.add_argument("--workers", type=int, default=2)
    p.add_argument("--epochs", type=int, default=2)
    p.add_argument("--lr", type=float, default=1e-2)
    args = p.parse_args()
    torch.manual_seed(0)
    loader = DataLoader(EventLog(args.events, 1), batch_size=512, shuffle=True, num_workers=args.workers)
    train(TwoTower(16), loader, args)
