"""Sentiment classifier, run as: torchrun --nproc-per-node 2 finetune.py"""
import os
from typing import Iterator

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset, DistributedSampler, Subset


class Reviews(Dataset):
    def __init__(self, n: int, seed: int, vocab: int = 200, length: int = 16):
        g = torch.Generator().manual_seed(seed)
        self.ids = torch.randint(0, vocab, (n, length), generator=g)
        self.y = (self.ids.float().mean(1) > vocab / 2).long()

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int):
        return self.ids[i], self.y[i]


class BagOfWords(nn.Module):
    def __init__(self, vocab: int = 200, dim: int = 32):
        super().__init__()
        self.bag = nn.EmbeddingBag(vocab, dim)
        self.fc = nn.Linear(dim, 2)

    def forward(self, ids):
        return self.fc(self.bag(ids))


class DistContext:
    def __init__(self) -> None:
        os.environ.setdefault("RANK", "0")
        os.environ.setdefault("WORLD_SIZE", "1")
        os.environ.setdefault("LOCAL_RANK", "0")
        os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
        os.environ.setdefault("MASTER_PORT", "29633")
        self.cuda = torch.cuda.is_available()
        dist.init_process_group("nccl" if self.cuda else "gloo")
        self.rank, self.world = dist.get_rank(), dist.get_world_size()
        self.device = torch.device(f"cuda:{os.environ['LOCAL_RANK']}" if self.cuda else "cpu")

    def loader(self, ds: Dataset, bs: int, train: bool) -> DataLoader:
        # FIX+: if not train:
        # FIX+:     return DataLoader(Subset(ds, range(self.rank, len(ds), self.world)), batch_size=bs)
        sampler = DistributedSampler(ds, self.world, self.rank, shuffle=train)  # BUG
        # FIX: sampler = DistributedSampler(ds, self.world, self.rank, shuffle=True)
        return DataLoader(ds, batch_size=bs, sampler=sampler)


@torch.no_grad()
def evaluate(model: nn.Module, loader: Iterator, ctx: DistContext) -> dict:
    model.eval()
    counts = torch.zeros(2, dtype=torch.float64, device=ctx.device)
    for ids, y in loader:
        ids, y = ids.to(ctx.device), y.to(ctx.device)
        counts[0] += (model(ids).argmax(-1) == y).sum()
        counts[1] += y.numel()
    dist.all_reduce(counts)
    hits, total = counts.tolist()
    return {"accuracy": hits / total, "n": int(total)}


def main() -> None:
    ctx = DistContext()
    torch.manual_seed(0)
    train_dl = ctx.loader(Reviews(256, seed=1), bs=32, train=True)
    test_dl = ctx.loader(Subset(Reviews(120, seed=2), range(0, 101)), bs=32, train=False)
    net = BagOfWords().to(ctx.device)
    ddp = DistributedDataParallel(net, device_ids=[ctx.device.index] if ctx.cuda else None)
    opt = torch.optim.Adam(ddp.parameters(), lr=1e-2)
    for epoch in range(3):
        train_dl.sampler.set_epoch(epoch)
        ddp.train()
        for ids, y in train_dl:
            opt.zero_grad()
            loss = nn.functional.cross_entropy(ddp(ids.to(ctx.device)), y.to(ctx.device))
            loss.backward()
            opt.step()
        result = evaluate(ddp.module, test_dl, ctx)
        if ctx.rank == 0:
            print(epoch, result)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
