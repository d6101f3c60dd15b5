import argparse
import os
import tempfile

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler


def set_env_defaults():
    os.environ.setdefault("RANK", "0")
    os.environ.setdefault("LOCAL_RANK", "0")
    os.environ.setdefault("WORLD_SIZE", "1")
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", "29641")


class Trainer:
    def __init__(self, args, model, train_data, ckpt_dir):
        self.args = args
        self.local_rank = os.environ["LOCAL_RANK"]  # BUG
        # FIX: self.local_rank = int(os.environ["LOCAL_RANK"])
        self.device = self._pick_device()
        self.model = DDP(model.to(self.device))
        self.sampler = DistributedSampler(train_data)
        self.loader = DataLoader(train_data, batch_size=args.batch_size, sampler=self.sampler)
        self.opt = torch.optim.AdamW(self.model.parameters(), lr=args.lr)
        self.ckpt_path = os.path.join(ckpt_dir, "last.pt")

    def _pick_device(self):
        if torch.cuda.is_available():
            return torch.device("cuda", self.local_rank)
        return torch.device("cpu")

    def _save(self, epoch):
        torch.save({"epoch": epoch, "model": self.model.module.state_dict()}, self.ckpt_path)

    def _run_batch(self, x, y):
        self.opt.zero_grad()
        loss = nn.functional.smooth_l1_loss(self.model(x), y)
        loss.backward()
        self.opt.step()
        return loss.item()

    def train(self):
        for epoch in range(self.args.epochs):
            self.sampler.set_epoch(epoch)
            self.model.train()
            for x, y in self.loader:
                loss = self._run_batch(x.to(self.device), y.to(self.device))
            if self.local_rank == 0:  # BUG
                print(f"epoch {epoch} loss {loss:.4f}")
                if (epoch + 1) % self.args.save_every == 0:
                    self._save(epoch)
        dist.barrier()


def main():
    parser = argparse.ArgumentParser("depth regression")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--save-every", dest="save_every", type=int, default=2)
    parser.add_argument("--batch-size", dest="batch_size", type=int, default=16)
    parser.add_argument("--lr", type=float, default=1e-2)
    args = parser.parse_args()
    set_env_defaults()
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    torch.manual_seed(0)
    x = torch.randn(96, 12)
    y = x[:, :2] * x[:, 2:4]
    model = nn.Sequential(nn.Linear(12, 32), nn.SiLU(), nn.Linear(32, 2))
    with tempfile.TemporaryDirectory() as tmp:
        Trainer(args, model, TensorDataset(x, y), tmp).train()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
