"""Categorical VAE with an annealed Gumbel temperature. torchrun --nproc-per-node 2 train.py"""
import math
import os

import torch
import torch.distributed as dist
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler


class CategoricalVAE(nn.Module):
    def __init__(self, x_dim=36, n_cat=6, k=8):
        super().__init__()
        self.n_cat, self.k = n_cat, k
        self.tau = 1.0
        self.enc = nn.Sequential(nn.Linear(x_dim, 64), nn.ReLU(), nn.Linear(64, n_cat * k))
        self.dec = nn.Sequential(nn.Linear(n_cat * k, 64), nn.ReLU(), nn.Linear(64, x_dim))

    def forward(self, x):
        logits = self.enc(x).view(-1, self.n_cat, self.k)
        z = F.gumbel_softmax(logits, tau=self.tau, dim=-1)
        logq = logits.log_softmax(-1)
        kl = (logq.exp() * (logq + math.log(self.k))).sum((1, 2))
        return self.dec(z.flatten(1)), kl


def setup():
    for key, val in dict(RANK="0", WORLD_SIZE="1", LOCAL_RANK="0",
                         MASTER_ADDR="127.0.0.1", MASTER_PORT="29617").items():
        os.environ.setdefault(key, val)
    cuda = torch.cuda.is_available()
    dist.init_process_group("nccl" if cuda else "gloo")
    local = int(os.environ["LOCAL_RANK"])
    if cuda:
        torch.cuda.set_device(local)
    return torch.device("cuda", local) if cuda else torch.device("cpu")


def anneal(step, start=1.0, floor=0.3, rate=0.05):
    return max(floor, start * math.exp(-rate * step))


def main():
    device = setup()
    torch.manual_seed(0)
    data = TensorDataset((torch.rand(256, 36) > 0.6).float())
    sampler = DistributedSampler(data, shuffle=True, seed=0)
    loader = DataLoader(data, batch_size=32, sampler=sampler)
    model = CategoricalVAE().to(device)
    model = DDP(model, device_ids=[device.index] if device.type == "cuda" else None)
    torch.manual_seed(100 + dist.get_rank())          # different noise on each rank
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    step = 0
    for epoch in range(3):
        sampler.set_epoch(epoch)
        model.train()
        for (x,) in loader:
            x = x.to(device)
            model.tau = anneal(step)  # BUG
            # FIX: model.module.tau = anneal(step)
            recon, kl = model(x)
            bce = F.binary_cross_entropy_with_logits(recon, x, reduction="none").sum(1)
            loss = (bce + kl).mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
            step += 1
        if dist.get_rank() == 0:
            weights = model.module.state_dict()
            print(f"epoch {epoch} -elbo {loss.item():.3f} tau {model.module.tau:.3f} tensors {len(weights)}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
