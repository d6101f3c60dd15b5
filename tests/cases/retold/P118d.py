"""torchrun --nproc-per-node 2 P118d.py"""
import os
import socket

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return str(s.getsockname()[1])


def setup():
    alone = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
    for key, value in alone.items():
        os.environ.setdefault(key, value)
    os.environ.setdefault("MASTER_PORT", free_port())
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if cuda else "gloo")
    return device


def make_loader(dataset, batch_size, train=True, **options):
    sampler = options.get("sampler")
    return DataLoader(
        dataset,
        batch_size=batch_size,
        shuffle=train and sampler is None,
        sampler=sampler,
        drop_last=options.get("drop_last", train),
        pin_memory=options.get("pin_memory", False),
    )


def main():
    device = setup()
    rank = dist.get_rank()
    torch.manual_seed(0)
    x = torch.randn(640, 15)
    y = (x[:, :5].sum(1) * x[:, 5]).unsqueeze(1)
    train_set = TensorDataset(x[:512], y[:512])
    sampler = DistributedSampler(train_set, shuffle=True, seed=3)
    loader = make_loader(train_set, 32, sampleer=sampler, pin_memory=device.type == "cuda")  # BUG
    # FIX: loader = make_loader(train_set, 32, sampler=sampler, pin_memory=device.type == "cuda")
    val_loader = make_loader(TensorDataset(x[512:], y[512:]), 64, train=False)

    net = nn.Sequential(nn.Linear(15, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    model = DDP(net.to(device), device_ids=[device.index] if device.type == "cuda" else None)
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(3):
        sampler.set_epoch(epoch)
        model.train()
        for xb, yb in loader:
            xb, yb = xb.to(device), yb.to(device)
            loss = nn.functional.mse_loss(model(xb), yb)
            opt.zero_grad()
            loss.backward()
            opt.step()
        model.eval()
        with torch.no_grad():  # every rank has the whole validation set
            val = sum(nn.functional.mse_loss(net(a.to(device)), b.to(device)).item() for a, b in val_loader)
        if rank == 0:
            print(f"epoch {epoch} batches/rank {len(loader)} val mse {val / len(val_loader):.4f}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
