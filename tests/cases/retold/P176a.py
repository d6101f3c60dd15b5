"""Resumable trainer."""
import argparse
import os
import tempfile
from dataclasses import asdict, dataclass

import torch
import torch.nn as nn


@dataclass
class Hyper:
    hidden: int = 32
    lr: float = 1e-2


class CheckpointIO:
    def __init__(self, folder, device, safe=False):  # BUG
    # FIX: def __init__(self, folder, device, safe=True):
        self.folder = folder
        self.read_opts = {"map_location": device, "weights_only": safe}

    def path(self, tag):
        return os.path.join(self.folder, f"{tag}.ckpt")

    def write(self, tag, **payload):
        torch.save(payload, self.path(tag))

    def read(self, tag):
        return torch.load(self.path(tag), **self.read_opts)  # BUG


class Trainer:
    def __init__(self, hp, io, device):
        self.hp, self.io, self.device = hp, io, device
        self.model = nn.Sequential(nn.Linear(8, hp.hidden), nn.Tanh(), nn.Linear(hp.hidden, 1)).to(device)
        self.opt = torch.optim.Adam(self.model.parameters(), lr=hp.lr)
        self.step = 0

    def resume(self, tag):
        state = self.io.read(tag)
        self.model.load_state_dict(state["model"])
        self.opt.load_state_dict(state["opt"])
        self.step = state["step"]

    def train(self, x, y, steps):
        self.model.train()
        for _ in range(steps):
            loss = nn.functional.mse_loss(self.model(x), y)
            self.opt.zero_grad()
            loss.backward()
            self.opt.step()
            self.step += 1
        self.io.write("last", model=self.model.state_dict(), opt=self.opt.state_dict(),
                      step=self.step, hyper=asdict(self.hp))
        return loss.item()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=10)
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    x = torch.randn(64, 8, device=device)
    y = x.prod(1, keepdim=True)
    with tempfile.TemporaryDirectory() as tmp:
        io = CheckpointIO(tmp, device)
        print(Trainer(Hyper(), io, device).train(x, y, args.steps))
        second = Trainer(Hyper(), io, device)
        second.resume("last")
        print(second.train(x, y, args.steps), "at step", second.step)


if __name__ == "__main__":
    main()
