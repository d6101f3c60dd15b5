import argparse
import os
import socket

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def init_distributed():
    defaults = dict(RANK=0, LOCAL_RANK=0, WORLD_SIZE=1, MASTER_ADDR="127.0.0.1", MASTER_PORT=free_port())
    for key, value in defaults.items():
        os.environ.setdefault(key, str(value))
    local_rank = int(os.environ["LOCAL_RANK"])
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank)
        dist.init_process_group("nccl")
        return torch.device("cuda", local_rank)
    dist.init_process_group("gloo")
    return torch.device("cpu")


class Trainer:
    def __init__(self, model, train_set, args, device):
        self.device = device
        self.args = args
        self.model = DDP(model.to(device), device_ids=[device.index] if device.type == "cuda" else None)
        self.sampler = DistributedSampler(train_set, shuffle=True, seed=args.seed, drop_last=True)
        self.loader = DataLoader(train_set, batch_size=args.batch_size, sampler=self.sampler)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=args.lr, momentum=0.9)
        self.criterion = nn.CrossEntropyLoss()

    def run_epoch(self, epoch):
        self.model.train()
        # FIX+: self.sampler.set_epoch(epoch)
        total = torch.zeros(2, device=self.device)
        for x, y in self.loader:
            x, y = x.to(self.device), y.to(self.device)
            self.optimizer.zero_grad()
            loss = self.criterion(self.model(x), y)
            loss.backward()
            self.optimizer.step()
            total += torch.tensor([loss.item() * len(y), len(y)], device=self.device)
        dist.all_reduce(total)
        return (total[0] / total[1]).item()

    def fit(self):
        for epoch in range(self.args.epochs):  # BUG
            loss = self.run_epoch(epoch)
            if dist.get_rank() == 0:
                print(f"epoch {epoch} loss {loss:.4f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    device = init_distributed()
    torch.manual_seed(args.seed)
    x = torch.randn(192, 10)
    y = (x[:, :3].sum(1) > 0).long() + (x[:, 3] > 1).long()
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 3))
    Trainer(model, TensorDataset(x, y), args, device).fit()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
