"""DDP training; start with torchrun --nproc-per-node 2."""
import argparse
import os
import socket
import tempfile

import torch
import torch.distributed as dist
import torch.nn as nn
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler


def setup():
    if "MASTER_PORT" not in os.environ:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            os.environ["MASTER_PORT"] = str(s.getsockname()[1])
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("RANK", "0")
    os.environ.setdefault("WORLD_SIZE", "1")
    os.environ.setdefault("LOCAL_RANK", "0")
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if cuda else "gloo")
    return torch.device("cuda", int(os.environ["LOCAL_RANK"])) if cuda else torch.device("cpu")


class Trainer:
    def __init__(self, args, device):
        self.args, self.device = args, device
        self.rank = dist.get_rank()
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 2)).to(device)
        self.model = DDP(net, device_ids=[device.index] if device.type == "cuda" else None)
        self.opt = torch.optim.SGD(self.model.parameters(), lr=0.1)
        x = torch.randn(256, 16)
        data = TensorDataset(x, (x[:, 0] > 0).long())
        self.sampler = DistributedSampler(data, shuffle=True, seed=0)
        self.loader = DataLoader(data, batch_size=32, sampler=self.sampler)

    def save(self, epoch):
        state = {"model": self.model.module.state_dict(), "opt": self.opt.state_dict(), "epoch": epoch}
        torch.save(state, self.args.ckpt)  # BUG
        # FIX: if self.rank == 0:
        # FIX:     torch.save(state, self.args.ckpt)
        # FIX: dist.barrier()

    def fit(self):
        for epoch in range(self.args.epochs):
            self.sampler.set_epoch(epoch)
            self.model.train()
            for x, y in self.loader:
                loss = nn.functional.cross_entropy(self.model(x.to(self.device)), y.to(self.device))
                self.opt.zero_grad()
                loss.backward()
                self.opt.step()
            if self.rank == 0:
                print(f"epoch {epoch} loss {loss.item():.4f}")
            self.save(epoch)


def main():
    device = setup()
    parser = argparse.ArgumentParser()
    default = os.path.join(tempfile.gettempdir(), f"ddp_{os.environ['MASTER_PORT']}.pt")
    parser.add_argument("--ckpt", default=default)
    parser.add_argument("--epochs", type=int, default=2)
    args = parser.parse_args()
    Trainer(args, device).fit()
    dist.barrier()
    if dist.get_rank() == 0:
        os.remove(args.ckpt)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
