"""Streaming text classification from shards."""
import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, IterableDataset
# FIX+: from torch.utils.data import get_worker_info


class ShardStream(IterableDataset):
    def __init__(self, shards, buffer_size=16):
        super().__init__()
        self.shards, self.buffer_size = shards, buffer_size

    def read(self):
        shards = self.shards  # BUG
        # FIX: info = get_worker_info()
        # FIX: shards = self.shards if info is None else self.shards[info.id::info.num_workers]
        for shard in shards:
            yield from shard

    def __iter__(self):
        buffer = []
        for item in self.read():
            buffer.append(item)
            if len(buffer) >= self.buffer_size:
                yield buffer.pop(torch.randint(len(buffer), ()).item())
        yield from buffer


def make_shards(n_shards, per_shard, vocab):
    shards = []
    for _ in range(n_shards):
        ids = torch.randint(0, vocab, (per_shard, 8))
        shards.append(list(zip(ids, ids[:, 0] % 3)))
    return shards


class Trainer:
    def __init__(self, args):
        self.loader = DataLoader(ShardStream(make_shards(4, 24, args.vocab)), batch_size=12,
                                 num_workers=args.num_workers)  # BUG
        self.model = nn.Sequential(nn.Embedding(args.vocab, 12), nn.Flatten(), nn.Linear(96, 3))
        self.opt = torch.optim.Adam(self.model.parameters(), lr=args.lr)

    def run(self, epochs):
        for epoch in range(epochs):
            self.model.train()
            seen = 0
            for ids, y in self.loader:
                loss = F.cross_entropy(self.model(ids), y)
                self.opt.zero_grad()
                loss.backward()
                self.opt.step()
                seen += len(y)
            print(f"epoch {epoch} samples {seen} loss {loss.item():.4f}")


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--vocab", type=int, default=30)
    p.add_argument("--num-workers", type=int, default=2)
    p.add_argument("--lr", type=float, default=1e-2)
    args = p.parse_args()
    torch.manual_seed(0)
    Trainer(args).run(2)
