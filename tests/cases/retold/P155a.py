"""Feature regression with a wide MLP; the throughput is printed."""
import time
from dataclasses import dataclass

import torch
import torch.nn as nn


@dataclass
class Config:
    width: int = 2048
    samples: int = 1024
    rows_per_step: int = 16  # BUG
    # FIX: rows_per_step: int = 512
    epochs: int = 1
    lr: float = 1e-3
    seed: int = 3


class WideNet(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc1 = nn.Linear(width, width)
        self.fc2 = nn.Linear(width, width)
        self.out = nn.Linear(width, 8)

    def forward(self, x):
        x = torch.relu(self.fc1(x))
        x = torch.relu(self.fc2(x))
        return self.out(x)


class Trainer:
    def __init__(self, cfg):
        self.cfg = cfg
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = WideNet(cfg.width).to(self.device)
        self.opt = torch.optim.SGD(self.model.parameters(), lr=cfg.lr, momentum=0.9)
        self.x = torch.randn(cfg.samples, cfg.width, device=self.device)
        self.y = torch.randn(cfg.samples, 8, device=self.device)

    def fit(self):
        self.model.train()
        start = time.perf_counter()
        for _ in range(self.cfg.epochs):
            order = torch.randperm(self.cfg.samples, device=self.device)
            for idx in order.split(self.cfg.rows_per_step):
                loss = nn.functional.mse_loss(self.model(self.x[idx]), self.y[idx])
                self.opt.zero_grad()
                loss.backward()
                self.opt.step()
        final = loss.item()
        rate = self.cfg.epochs * self.cfg.samples / (time.perf_counter() - start)
        print(f"loss {final:.4f}  {rate:.0f} rows/s")


if __name__ == "__main__":
    cfg = Config()
    torch.manual_seed(cfg.seed)
    Trainer(cfg).fit()
