import argparse
import os
import socket

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset, DistributedSampler


def find_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return str(s.getsockname()[1])


class PatchDataset(Dataset):
    def __init__(self, n=128):
        g = torch.Generator().manual_seed(0)
        self.x = torch.randn(n, 3, 8, 8, generator=g)
        self.y = (self.x.mean(dim=(1, 2, 3)) > 0).long()

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


class Config:
    def __init__(self, args):
        self.epochs = args.epochs
        self.lr = args.lr
        self.local_rank = int(os.environ["LOCAL_RANK"])
        self.use_cuda = torch.cuda.is_available()
        n_gpus = torch.cuda.device_count()
        self.gpu_ids = [int(g) for g in args.gpus.split(",")] if args.gpus else list(range(n_gpus))
        self.device = torch.device("cuda", self.local_rank) if self.use_cuda else torch.device("cpu")


class Trainer:
    def __init__(self, cfg):
        self.cfg = cfg
        data = PatchDataset()
        self.sampler = DistributedSampler(data, seed=1)
        self.loader = DataLoader(data, batch_size=16, sampler=self.sampler)
        net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(),
                            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
        self.net = self.wrap(net.to(cfg.device))
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=cfg.lr)

    def wrap(self, net):
        if not self.cfg.use_cuda:
            return DistributedDataParallel(net)
        return DistributedDataParallel(net, device_ids=self.cfg.gpu_ids)  # BUG
        # FIX: return DistributedDataParallel(net, device_ids=[self.cfg.local_rank])

    def train(self):
        criterion = nn.CrossEntropyLoss().to(self.cfg.device)
        for epoch in range(self.cfg.epochs):
            self.sampler.set_epoch(epoch)
            self.net.train()
            for x, y in self.loader:
                x, y = x.to(self.cfg.device), y.to(self.cfg.device)
                self.optimizer.zero_grad()
                loss = criterion(self.net(x), y)
                loss.backward()
                self.optimizer.step()
            if dist.get_rank() == 0:
                print(f"epoch {epoch} loss {loss.item():.4f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--gpus", default="", help="comma separated, default: all")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--lr", type=float, default=0.1)
    args = parser.parse_args()
    env = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1",
           "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": find_port()}
    for k, v in env.items():
        os.environ.setdefault(k, v)
    cfg = Config(args)
    if cfg.use_cuda:
        torch.cuda.set_device(cfg.local_rank)
    dist.init_process_group("nccl" if cfg.use_cuda else "gloo")
    torch.manual_seed(0)
    Trainer(cfg).train()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
