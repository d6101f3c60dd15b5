# launch: torchrun --nproc-per-node 2 P124d.py
import argparse
import os

import torch
import torch.distributed as dist
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler


class Tiles(Dataset):
    """Segmentation of bright squares in noise."""

    def __init__(self, n, seed=0):
        g = torch.Generator().manual_seed(seed)
        self.mask = torch.zeros(n, 1, 20, 20)
        corners = torch.randint(0, 13, (n, 2), generator=g)
        for m, (r, c) in zip(self.mask, corners.tolist()):
            m[:, r:r + 7, c:c + 7] = 1
        self.img = self.mask + 0.8 * torch.randn(n, 1, 20, 20, generator=g)

    def __len__(self):
        return len(self.img)

    def __getitem__(self, i):
        return self.img[i], self.mask[i]


def parse():
    p = argparse.ArgumentParser()
    p.add_argument("--bs", type=int, default=16)
    p.add_argument("--epochs", type=int, default=2)
    p.add_argument("--no-shuffle", dest="shuffle", action="store_false")
    return p.parse_args()


def init_distributed():
    os.environ.setdefault("RANK", "0")
    os.environ.setdefault("WORLD_SIZE", "1")
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", str(29500 + os.getpid() % 400))
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))


class TrainData:
    def __init__(self, dataset, args):
        self.sampler = DistributedSampler(dataset, shuffle=args.shuffle, drop_last=True)
        kwargs = {"batch_size": args.bs, "sampler": self.sampler, "shuffle": args.shuffle}  # BUG
        # FIX: kwargs = {"batch_size": args.bs, "sampler": self.sampler}
        if kwargs.get("shuffle"):  # the two options exclude each other
            kwargs.pop("sampler")  # BUG
        self.loader = DataLoader(dataset, **kwargs)

    def epoch(self, k):
        self.sampler.set_epoch(k)
        return self.loader


def main():
    args = parse()
    init_distributed()
    torch.manual_seed(100)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    net = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(),
        nn.Conv2d(12, 12, 3, padding=1), nn.ReLU(),
        nn.Conv2d(12, 1, 1),
    ).to(device)
    model = nn.parallel.DistributedDataParallel(net)
    opt = torch.optim.Adam(model.parameters(), 5e-3)
    pos_weight = torch.tensor(4.0, device=device)
    data = TrainData(Tiles(160), args)
    torch.manual_seed(100 + dist.get_rank())
    for k in range(args.epochs):
        model.train()
        for img, mask in data.epoch(k):
            img, mask = img.to(device), mask.to(device)
            loss = nn.functional.binary_cross_entropy_with_logits(model(img), mask, pos_weight=pos_weight)
            opt.zero_grad()
            loss.backward()
            opt.step()
        mean = loss.detach().clone()
        dist.all_reduce(mean)
        mean /= dist.get_world_size()
        if dist.get_rank() == 0:
            print(f"epoch {k} loss {mean.item():.4f}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
