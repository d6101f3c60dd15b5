"""Launch helper + training entry point."""
import argparse
import os
import subprocess
import sys

import torch
import torch.nn as nn


class Launcher:
    """Starts the worker in a fresh interpreter with a fixed environment."""

    def __init__(self, threads):
        self.env = dict(os.environ, OMP_NUM_THREADS=str(threads))
        self.env["LD_PRELOAD"] = "/home/wangl/anaconda3/envs/pt/lib/libgomp.so.1"  # BUG
        # FIX: print("torch", torch.__version__, "python", sys.version.split()[0], "threads", threads)

    def start(self, argv):
        proc = subprocess.run([sys.executable, os.path.abspath(__file__), "--worker", *argv], env=self.env)
        return proc.returncode


class Regressor(nn.Module):
    def __init__(self, d=16):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(d, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, x):
        return self.net(x).squeeze(-1)


def work(args):
    torch.manual_seed(args.seed)
    x = torch.randn(256, 16)
    y = x.sum(1) + 0.1 * torch.randn(256)
    model = Regressor()
    opt = torch.optim.Adam(model.parameters(), lr=1e-2)
    model.train()
    for epoch in range(args.epochs):
        for xb, yb in zip(x.split(64), y.split(64)):
            loss = nn.functional.mse_loss(model(xb), yb)
            opt.zero_grad()
            loss.backward()
            opt.step()
    print(f"final loss {loss.item():.4f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--worker", action="store_true")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    if args.worker:
        work(args)
        return 0
    return Launcher(args.threads).start(["--epochs", str(args.epochs), "--seed", str(args.seed)])


if __name__ == "__main__":
    sys.exit(main())
