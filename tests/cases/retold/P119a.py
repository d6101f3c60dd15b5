import argparse
import copy
import os
import tempfile

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler


class SiameseNet(nn.Module):
    def __init__(self, dim_in=16, dim_out=8):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(dim_in, 32), nn.ReLU())
        self.projector = nn.Linear(32, dim_out)
        self.config = {"dim_in": dim_in, "dim_out": dim_out}

    def forward(self, a, b):
        za = self.projector(self.backbone(a))
        zb = self.projector(self.backbone(b))
        return nn.functional.normalize(za, dim=-1), nn.functional.normalize(zb, dim=-1)


class Trainer:
    def __init__(self, args):
        self.args = args
        self.rank = int(os.environ.get("RANK", 0))
        self.distributed = int(os.environ.get("WORLD_SIZE", 1)) > 1
        data = TensorDataset(torch.randn(128, 16))
        self.sampler = DistributedSampler(data, drop_last=True) if self.distributed else None
        self.loader = DataLoader(data, batch_size=32, sampler=self.sampler, shuffle=self.sampler is None)
        self.model = SiameseNet()
        if self.distributed:
            self.model = DDP(self.model)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=args.lr)

    def contrastive(self, za, zb, temperature=0.2):
        logits = za @ zb.t() / temperature
        return nn.functional.cross_entropy(logits, torch.arange(len(za)))

    def train_epoch(self, epoch):
        if self.sampler is not None:
            self.sampler.set_epoch(epoch)
        self.model.train()
        for (x,) in self.loader:
            a, b = x + 0.1 * torch.randn_like(x), x + 0.1 * torch.randn_like(x)
            loss = self.contrastive(*self.model(a, b))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        return loss.item()

    def export_backbone(self, path):
        net = self.model  # BUG
        # FIX: net = self.model.module if self.distributed else self.model
        payload = {"config": copy.deepcopy(net.config), "weights": net.backbone.state_dict()}  # BUG
        torch.save(payload, path)

    def fit(self, out_dir):
        for epoch in range(self.args.epochs):
            loss = self.train_epoch(epoch)
            if self.rank == 0:
                print(f"epoch {epoch} nce {loss:.4f}")
        if self.rank == 0:
            self.export_backbone(os.path.join(out_dir, "backbone.pt"))
        if self.distributed:
            dist.barrier()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--lr", type=float, default=3e-3)
    args = parser.parse_args()
    torch.manual_seed(0)
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        dist.init_process_group("gloo")
    with tempfile.TemporaryDirectory() as tmp:
        Trainer(args).fit(tmp)
    if dist.is_initialized():
        dist.destroy_process_group()
