"""Trainer with gradient accumulation and a step budget."""
from dataclasses import dataclass
import math
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


@dataclass
class TrainConfig:
    epochs: int = 4
    micro_batch: int = 8
    accum: int = 2
    lr: float = 5e-3
    warmup_frac: float = 0.1


class Trainer:
    def __init__(self, cfg, model, dataset):
        self.cfg, self.model = cfg, model
        self.loader = DataLoader(dataset, batch_size=cfg.micro_batch, shuffle=True, drop_last=True)
        self.opt = torch.optim.AdamW(model.parameters(), lr=cfg.lr)
        samples_per_step = cfg.micro_batch * cfg.accum
        self.max_steps = cfg.epochs * (len(self.loader) // samples_per_step)  # BUG
        # FIX: self.max_steps = cfg.epochs * len(dataset) // samples_per_step
        self.warmup = max(1, int(cfg.warmup_frac * self.max_steps))
        self.sched = torch.optim.lr_scheduler.LambdaLR(self.opt, self.factor)

    def factor(self, step):
        if step < self.warmup:
            return (step + 1) / self.warmup
        return 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.max_steps)))

    def micro_batches(self):
        while True:
            yield from self.loader

    def train(self):
        self.model.train()
        stream = self.micro_batches()
        for step in range(self.max_steps):
            self.opt.zero_grad()
            running = 0.0
            for _ in range(self.cfg.accum):
                x, y = next(stream)
                loss = F.cross_entropy(self.model(x), y) / self.cfg.accum
                loss.backward()
                running += loss.item()
            self.opt.step()
            self.sched.step()
        print(f"{self.max_steps} steps, loss {running:.4f}, lr {self.sched.get_last_lr()[0]:.2e}")


def main():
    torch.manual_seed(0)
    x = torch.randn(384, 20)
    y = (x @ torch.randn(20, 3)).argmax(1)
    Trainer(TrainConfig(), nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 3)),
            TensorDataset(x, y)).train()


if __name__ == "__main__":
    main()
