import argparse
import os
import socket

import torch
import torch.distributed as dist
from torch import nn
from torch.utils.data import DataLoader, Dataset, DistributedSampler


class Volumes(Dataset):
    def __init__(self, n=48):
        g = torch.Generator().manual_seed(0)
        self.vol = torch.randn(n, 1, 8, 8, 8, generator=g)
        self.mask = (self.vol > 0.5).float()

    def __len__(self):
        return len(self.vol)

    def __getitem__(self, i):
        return self.vol[i], self.mask[i]


class TinyUNet(nn.Module):
    def __init__(self, c=8):
        super().__init__()
        self.down = nn.Conv3d(1, c, 3, padding=1)
        self.mid = nn.Conv3d(c, c, 3, padding=1)
        self.up = nn.Conv3d(2 * c, 1, 1)

    def forward(self, x):
        d = torch.relu(self.down(x))
        m = torch.relu(self.mid(nn.functional.max_pool3d(d, 2)))
        m = nn.functional.interpolate(m, scale_factor=2)
        return self.up(torch.cat([d, m], dim=1))


def dice_loss(logits, target, eps=1.0):
    p = logits.sigmoid()
    dims = (1, 2, 3, 4)
    inter = (p * target).sum(dims)
    return (1 - (2 * inter + eps) / (p.sum(dims) + target.sum(dims) + eps)).mean()


class Trainer:
    parallel_cls = nn.DataParallel  # BUG
    # FIX: parallel_cls = nn.parallel.DistributedDataParallel

    def __init__(self, args, device):
        self.args = args
        self.device = device
        data = Volumes()
        self.sampler = None
        # FIX+: self.sampler = DistributedSampler(data)
        self.loader = DataLoader(data, batch_size=8, sampler=self.sampler, shuffle=self.sampler is None)
        self.net = TinyUNet().to(device)
        self.net = self.parallel_cls(self.net)
        self.opt = torch.optim.Adam(self.net.parameters(), lr=args.lr)

    def train(self):
        for epoch in range(self.args.epochs):
            if self.sampler is not None:
                self.sampler.set_epoch(epoch)
            self.net.train()
            for vol, mask in self.loader:
                vol, mask = vol.to(self.device), mask.to(self.device)
                self.opt.zero_grad()
                loss = dice_loss(self.net(vol), mask)
                loss.backward()
                self.opt.step()
            print(f"epoch {epoch} dice loss {loss.item():.4f}")


def get_device():
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # FIX+: with socket.socket() as s:
    # FIX+:     s.bind(("127.0.0.1", 0))
    # FIX+:     os.environ.setdefault("MASTER_PORT", str(s.getsockname()[1]))
    # FIX+: for k, v in dict(RANK="0", WORLD_SIZE="1", LOCAL_RANK="0", MASTER_ADDR="127.0.0.1").items():
    # FIX+:     os.environ.setdefault(k, v)
    # FIX+: if device.type == "cuda":
    # FIX+:     device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    # FIX+:     torch.cuda.set_device(device)
    # FIX+: dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return device


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--lr", type=float, default=1e-2)
    args = parser.parse_args()
    torch.manual_seed(0)
    Trainer(args, get_device()).train()
    if dist.is_initialized():
        dist.destroy_process_group()
