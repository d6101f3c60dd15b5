"""Distributed detector training; predictions of all ranks are collected for the metric."""
import os
import pickle  # BUG
# FIX:

import torch
import torch.distributed as dist
import torch.nn as nn


def init():
    os.environ.setdefault("RANK", "0")
    os.environ.setdefault("WORLD_SIZE", "1")
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", "29683")
    local = int(os.environ.get("LOCAL_RANK", 0))
    if torch.cuda.is_available():
        torch.cuda.set_device(local)
        dist.init_process_group("nccl")
        return torch.device("cuda", local)
    dist.init_process_group("gloo")
    return torch.device("cpu")


class Collector:
    """Gathers one result per rank, the results may differ in length."""

    def __init__(self, device):
        self.device = device
        self.world = dist.get_world_size()

    def _sizes(self, n):
        sizes = [torch.zeros(1, dtype=torch.long, device=self.device) for _ in range(self.world)]
        dist.all_gather(sizes, torch.tensor([n], device=self.device))
        return [int(s) for s in sizes]

    def _gather_padded(self, t):
        sizes = self._sizes(t.size(0))
        buf = t.new_zeros((max(sizes), *t.shape[1:]))
        buf[:t.size(0)] = t
        out = [torch.empty_like(buf) for _ in sizes]
        dist.all_gather(out, buf)
        return [o[:n] for o, n in zip(out, sizes)]

    def gather(self, preds):
        raw = torch.frombuffer(bytearray(pickle.dumps(preds.cpu())), dtype=torch.uint8)  # BUG
        # FIX:
        parts = self._gather_padded(raw.to(self.device))  # BUG
        # FIX: parts = self._gather_padded(preds)
        return torch.cat([pickle.loads(p.cpu().numpy().tobytes()) for p in parts])  # BUG
        # FIX: return torch.cat(parts).cpu()


class BoxNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 64, 4))

    def forward(self, x):
        return self.body(x).sigmoid()


def main():
    device = init()
    rank = dist.get_rank()
    torch.manual_seed(0)
    model = BoxNet().to(device)
    ddp = nn.parallel.DistributedDataParallel(model)
    opt = torch.optim.Adam(ddp.parameters(), lr=1e-3)
    g = torch.Generator().manual_seed(100 + rank)
    imgs = torch.randn(48, 1, 16, 16, generator=g).to(device)
    boxes = torch.rand(48, 4, generator=g).to(device)
    ddp.train()
    for xb, yb in zip(imgs.split(16), boxes.split(16)):
        loss = nn.functional.l1_loss(ddp(xb), yb)
        opt.zero_grad()
        loss.backward()
        opt.step()
    model.eval()
    with torch.no_grad():
        preds = model(imgs[:10 + rank])
    everything = Collector(device).gather(preds)
    if rank == 0:
        print("collected", tuple(everything.shape), "mean", everything.mean().item())
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
