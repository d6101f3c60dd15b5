"""Callback-style DDP trainer. torchrun --nproc-per-node 2 script.py"""
import io
import os
import shutil
import socket
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn as nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler


class Callback:
    def on_epoch_end(self, trainer, epoch):
        pass


class Checkpointer(Callback):
    def __init__(self, folder):
        self.target = Path(folder) / "last.ckpt"

    def on_epoch_end(self, trainer, epoch):
        state = {
            "epoch": epoch,
            "model": trainer.model.module.state_dict(),
            "optimizer": trainer.optimizer.state_dict(),
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        self.target.write_bytes(buffer.getvalue())  # BUG
        # FIX: if trainer.rank == 0:
        # FIX:     self.target.write_bytes(buffer.getvalue())
        # FIX: dist.barrier()


class Progress(Callback):
    def on_epoch_end(self, trainer, epoch):
        mean = trainer.last_loss.clone()
        dist.all_reduce(mean)  # every rank takes part
        if trainer.rank == 0:
            print(f"epoch {epoch} loss {mean.item() / dist.get_world_size():.4f}")


class Trainer:
    def __init__(self, net, dataset, callbacks, device):
        self.rank = dist.get_rank()
        self.device = device
        ids = [device.index] if device.type == "cuda" else None
        self.model = DistributedDataParallel(net.to(device), device_ids=ids)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-2)
        self.sampler = DistributedSampler(dataset)
        self.loader = DataLoader(dataset, batch_size=16, sampler=self.sampler)
        self.callbacks = callbacks
        self.last_loss = None

    def fit(self, epochs):
        for epoch in range(epochs):
            self.sampler.set_epoch(epoch)
            self.model.train()
            for x, y in self.loader:
                self.optimizer.zero_grad()
                loss = nn.functional.cross_entropy(self.model(x.to(self.device)), y.to(self.device))
                loss.backward()
                self.optimizer.step()
            self.last_loss = loss.detach()
            for cb in self.callbacks:
                cb.on_epoch_end(self, epoch)


def start_group():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    defaults = dict(RANK="0", WORLD_SIZE="1", LOCAL_RANK="0", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
        dist.init_process_group("nccl")
    else:
        device = torch.device("cpu")
        dist.init_process_group("gloo")
    return device


def shared_folder():
    box = [tempfile.mkdtemp() if dist.get_rank() == 0 else None]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def main():
    device = start_group()
    torch.manual_seed(0)
    x = torch.randn(192, 6)
    y = (x[:, 0] * x[:, 1] > 0).long()
    folder = shared_folder()
    net = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 2))
    Trainer(net, TensorDataset(x, y), [Progress(), Checkpointer(folder)], device).fit(epochs=3)
    dist.barrier()
    if dist.get_rank() == 0:
        print("stored epoch", torch.load(Path(folder) / "last.ckpt", weights_only=True)["epoch"])
        shutil.rmtree(folder)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
