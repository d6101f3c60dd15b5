"""Click-through prediction from a stream of log shards."""
import argparse

import torch
from torch import nn
from torch.utils import data


class ClickLog(data.IterableDataset):
    def __init__(self, shards, rows_per_shard, n_items):
        super().__init__()
        self.shards = list(shards)
        self.rows_per_shard = rows_per_shard
        self.n_items = n_items
        self.epoch = 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def _read(self, shard):
        g = torch.Generator().manual_seed(1000 + shard)
        user = torch.randint(50, (self.rows_per_shard,), generator=g)
        item = torch.randint(self.n_items, (self.rows_per_shard,), generator=g)
        clicked = ((user + item) % 3 == 0).float()
        yield from zip(user, item, clicked)

    def __iter__(self):
        g = torch.Generator().manual_seed(self.epoch)
        order = torch.randperm(len(self.shards), generator=g).tolist()
        # FIX+: worker = data.get_worker_info()
        # FIX+: if worker is not None:
        # FIX+:     order = order[worker.id :: worker.num_workers]
        for k in order:  # BUG
            yield from self._read(self.shards[k])


class TwoTower(nn.Module):
    def __init__(self, n_users, n_items, dim=16):
        super().__init__()
        self.user = nn.Embedding(n_users, dim)
        self.item = nn.Embedding(n_items, dim)
        self.top = nn.Sequential(nn.Linear(2 * dim, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, user, item):
        return self.top(torch.cat([self.user(user), self.item(item)], dim=1)).squeeze(1)


def parse():
    p = argparse.ArgumentParser()
    p.add_argument("--batch-size", type=int, default=32)
    p.add_argument("--workers", type=int, default=2)
    p.add_argument("--epochs", type=int, default=2)
    p.add_argument("--lr", type=float, default=5e-3)
    return p.parse_args()


def main():
    args = parse()
    torch.manual_seed(0)
    logs = ClickLog(range(6), rows_per_shard=64, n_items=30)
    loader = data.DataLoader(logs, batch_size=args.batch_size, num_workers=args.workers)  # BUG
    model = TwoTower(50, 30)
    opt = torch.optim.Adam(model.parameters(), lr=args.lr)
    criterion = nn.BCEWithLogitsLoss()
    for epoch in range(args.epochs):
        logs.set_epoch(epoch)
        model.train()
        rows, running = 0, 0.0
        for user, item, clicked in loader:
            opt.zero_grad()
            loss = criterion(model(user, item), clicked)
            loss.backward()
            opt.step()
            rows += len(user)
            running += loss.item() * len(user)
        print(f"epoch {epoch}: {rows} rows, loss {running / rows:.4f}")


if __name__ == "__main__":
    main()
