"""Hybrid sharding: shard inside a node, replicate across nodes (2-D mesh, FSDP2). Masked-token pre-training.

torchrun --standalone --nproc-per-node 4 hsdp.py --shard-degree 2
"""

import argparse
import os

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler

MASK, FIRST = 1, 5


class Sentences(Dataset):
    def __init__(self, count, length, vocabulary):
        self.count, self.length, self.vocabulary = count, length, vocabulary

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        g = torch.Generator().manual_seed(i)
        tokens = torch.randint(FIRST, self.vocabulary, (self.length,), generator=g)
        hidden = torch.rand(self.length, generator=g) < 0.15
        return torch.where(hidden, MASK, tokens), torch.where(hidden, tokens, -100)


class Encoder(nn.Module):
    def __init__(self, vocabulary, length, width, heads, depth):
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.places = nn.Embedding(length, width)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, heads, 4 * width, dropout=0.1, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, tokens):
        x = self.words(tokens) + self.places(torch.arange(tokens.size(1), device=tokens.device))
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))


def get_args():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument(
        "--shard-degree", type=int, default=None, help="ranks that share one copy (default: those of a node)"
    )
    p.add_argument("--vocabulary", type=int, default=30_522)
    p.add_argument("--length", type=int, default=512)
    p.add_argument("--width", type=int, default=1024)
    p.add_argument("--heads", type=int, default=16)
    p.add_argument("--depth", type=int, default=24)
    p.add_argument("--batch-size", type=int, default=16)
    p.add_argument("--accumulate", type=int, default=2)
    p.add_argument("--samples", type=int, default=131_072)
    p.add_argument("--epochs", type=int, default=1)
    p.add_argument("--fp32", action="store_true")
    return p.parse_args()


def train(args):
    world_size = dist.get_world_size()
    shard_degree = args.shard_degree or int(os.environ.get("LOCAL_WORLD_SIZE", world_size))
    if world_size % shard_degree:
        raise SystemExit(f"--shard-degree {shard_degree} does not divide the world size {world_size}")
    kind = "cuda" if torch.cuda.is_available() else "cpu"
    mesh = init_device_mesh(kind, (world_size // shard_degree, shard_degree), mesh_dim_names=("replicate", "shard"))
    device = torch.device(kind, torch.cuda.current_device()) if kind == "cuda" else torch.device(kind)

    torch.manual_seed(0)
    model = Encoder(args.vocabulary, args.length, args.width, args.heads, args.depth)
    half = {} if args.fp32 else {"mp_policy": MixedPrecisionPolicy(torch.bfloat16, torch.float32)}
    for layer in model.layers:
        fully_shard(layer, mesh=mesh, **half)
    fully_shard(model, mesh=mesh, **half)
    torch.manual_seed(1 + dist.get_rank())  # dropout differs between ranks
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 0.01, total_iters=1000)

    data = Sentences(args.samples, args.length, args.vocabulary)
    sampler = DistributedSampler(data, seed=7)
    loader = DataLoader(data, args.batch_size, sampler=sampler, drop_last=True, pin_memory=kind == "cuda")
    for epoch in range(args.epochs):
        sampler.set_epoch(epoch)
        for i, (tokens, labels) in enumerate(loader):
            last = (i + 1) % args.accumulate == 0
            model.set_requires_all_reduce(last)  # replicas meet once per optimizer step; shards in every micro-step
            logits = model(tokens.to(device, non_blocking=True))
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), labels.to(device, non_blocking=True).flatten())
            (loss / args.accumulate).backward()
            if last:
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
            if i % 50 == 0:
                mean = loss.detach().float()
                dist.all_reduce(mean)
                if dist.get_rank() == 0:
                    print(f"epoch {epoch} batch {i} loss {mean.item() / world_size:.4f}")


if __name__ == "__main__":
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        train(get_args())
    finally:
        dist.destroy_process_group()
