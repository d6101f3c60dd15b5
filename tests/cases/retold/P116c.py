"""Data-parallel logistic matrix; start with torchrun --nproc-per-node 2."""
import os
import tempfile
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

for key, value in {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}.items():
    os.environ.setdefault(key, value)


@dataclass
class RunConfig:
    epochs: int = 3
    batch_size: int = 16
    lr: float = 0.05
    local_rank: int = field(default_factory=lambda: os.environ["LOCAL_RANK"])  # BUG
    # FIX: local_rank: int = field(default_factory=lambda: int(os.environ["LOCAL_RANK"]))

    @property
    def device(self):
        return torch.device(f"cuda:{self.local_rank}" if torch.cuda.is_available() else "cpu")

    @property
    def talks(self):
        return self.local_rank == 0  # BUG


def free_port():
    import socket
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def clicks():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(256, 8, generator=g)
    y = (x @ torch.linspace(-1, 1, 8) > 0).float()
    return TensorDataset(x, y)


def save(model, folder):
    path = os.path.join(folder, "model.pt")
    torch.save(model.module.state_dict(), path)
    print("saved", os.path.basename(path))


def train(cfg: RunConfig):
    device = cfg.device
    if device.type == "cuda":
        torch.cuda.set_device(device)
    data = clicks()
    sampler = DistributedSampler(data, shuffle=True, seed=1)
    loader = DataLoader(data, batch_size=cfg.batch_size, sampler=sampler)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1)).to(device)
    model = DistributedDataParallel(net, device_ids=[device.index] if device.type == "cuda" else None)
    optimizer = torch.optim.SGD(model.parameters(), lr=cfg.lr, momentum=0.9)
    criterion = nn.BCEWithLogitsLoss()

    with tempfile.TemporaryDirectory() as folder:
        for epoch in range(cfg.epochs):
            sampler.set_epoch(epoch)
            model.train()
            for x, y in loader:
                x, y = x.to(device), y.to(device)
                optimizer.zero_grad()
                loss = criterion(model(x).squeeze(1), y)
                loss.backward()
                optimizer.step()
            if cfg.talks:
                print(f"epoch {epoch} loss {loss.item():.4f}")
                save(model, folder)
        dist.barrier()


def main():
    os.environ.setdefault("MASTER_PORT", str(free_port()))
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        train(RunConfig())
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
