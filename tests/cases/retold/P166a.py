"""Train several learning rates, curves go to TensorBoard."""
import argparse
import os
import tempfile

import torch
import torch.nn as nn
from torch.utils.tensorboard import SummaryWriter


class Logger:
    def __init__(self, log_dir):
        self.writer = SummaryWriter(log_dir)

    def scalar(self, tag, value, step):
        self.writer.add_scalar(tag, value, step)

    def close(self):
        self.writer.close()


class Experiment:
    def __init__(self, root, lr):
        self.lr = lr
        run_dir = os.path.join(root, "mlp")  # BUG
        # FIX: run_dir = os.path.join(root, f"mlp_lr{lr:g}")
        self.logger = Logger(run_dir)
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
        self.opt = torch.optim.SGD(self.model.parameters(), lr=lr)

    def run(self, x, y, steps):
        self.model.train()
        for step in range(steps):
            loss = nn.functional.mse_loss(self.model(x), y)
            self.opt.zero_grad()
            loss.backward()
            self.opt.step()
            if step % 5 == 0:
                self.logger.scalar("train/loss", loss.item(), step)
        self.logger.close()
        return loss.item()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lrs", type=float, nargs="+", default=[0.01, 0.1])
    parser.add_argument("--steps", type=int, default=20)
    args = parser.parse_args()
    g = torch.Generator().manual_seed(1)
    x = torch.randn(128, 8, generator=g)
    y = x[:, :1] * 2 - x[:, 1:2]
    with tempfile.TemporaryDirectory() as root:
        for lr in args.lrs:
            print(lr, Experiment(root, lr).run(x, y, args.steps))


if __name__ == "__main__":
    main()
