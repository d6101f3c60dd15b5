import argparse
import os
import socket

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.utils.data import DataLoader, Subset, TensorDataset
from torch.utils.data.distributed import DistributedSampler


def init():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    for k, v in {"RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}.items():
        os.environ.setdefault(k, str(v))
    dist.init_process_group("gloo")
    return dist.get_rank(), dist.get_world_size()


def make_split(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 8, generator=g)
    return TensorDataset(x, (x[:, 0] * x[:, 1] > 0).long())


class DataModule:
    def __init__(self, args, rank, world_size):
        self.args, self.rank, self.world_size = args, rank, world_size
        self.train_set = make_split(256, seed=0)
        self.test_set = make_split(61, seed=1)

    def loader(self, split):
        train = split == "train"
        dataset = self.train_set if train else self.test_set
        sampler = DistributedSampler(dataset, shuffle=train, drop_last=train)  # BUG
        # FIX: sampler = None
        # FIX: if train:
        # FIX:     sampler = DistributedSampler(dataset, shuffle=True, drop_last=True)
        # FIX: else:
        # FIX:     dataset = Subset(dataset, range(self.rank, len(dataset), self.world_size))
        return DataLoader(dataset, batch_size=self.args.batch_size, sampler=sampler)


class Evaluator:
    def __init__(self, loader):
        self.loader = loader

    @torch.no_grad()
    def __call__(self, model):
        model.eval()
        counts = torch.zeros(2)
        for x, y in self.loader:
            counts[0] += (model(x).argmax(dim=1) == y).sum()
            counts[1] += len(y)
        dist.all_reduce(counts)  # BUG
        return (counts[0] / counts[1]).item(), int(counts[1])


def train(args):
    rank, world_size = init()
    torch.manual_seed(args.seed)
    data = DataModule(args, rank, world_size)
    train_loader, evaluate = data.loader("train"), Evaluator(data.loader("test"))
    model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 2))
    ddp = DDP(model)
    optimizer = torch.optim.Adam(ddp.parameters(), lr=args.lr)
    for epoch in range(args.epochs):
        train_loader.sampler.set_epoch(epoch)
        ddp.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(ddp(x), y)
            loss.backward()
            optimizer.step()
        acc, n = evaluate(model)
        if rank == 0:
            print(f"epoch {epoch} test acc {acc:.3f} on {n} samples")
    dist.destroy_process_group()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--lr", type=float, default=1e-2)
    parser.add_argument("--seed", type=int, default=0)
    train(parser.parse_args())
