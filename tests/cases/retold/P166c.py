"""Learning-rate sweep with event logs."""
import os
import tempfile
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.utils.tensorboard import SummaryWriter


@dataclass
class Experiment:
    root: str
    name: str = "ablation_lr"
    lrs: list = field(default_factory=lambda: [1e-3, 1e-2, 1e-1])
    steps: int = 20

    def log_dir(self, lr):
        return os.path.join(self.root, self.name)  # BUG
        # FIX: return os.path.join(self.root, self.name, f"lr={lr:g}")


def moons(n=200):
    t = torch.rand(n) * 3.1416
    y = torch.randint(2, (n,))
    x = torch.stack([torch.cos(t) * (1 - 2 * y) + y, torch.sin(t) * (1 - 2 * y) + 0.4 * y], dim=1)
    return x + 0.1 * torch.randn_like(x), y.float()


def run(exp, lr, x, y):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1))
    opt = torch.optim.SGD(net.parameters(), lr=lr)
    writer = SummaryWriter(log_dir=exp.log_dir(lr))  # BUG
    net.train()
    for step in range(exp.steps):
        loss = nn.functional.binary_cross_entropy_with_logits(net(x).squeeze(1), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        writer.add_scalar("train/loss", loss.item(), step)
    writer.close()
    return loss.item()


def main():
    torch.manual_seed(1)
    x, y = moons()
    with tempfile.TemporaryDirectory() as root:
        exp = Experiment(root)
        final = {lr: run(exp, lr, x, y) for lr in exp.lrs}
        n_dirs = sum(bool(files) for _, _, files in os.walk(root))
    for lr, value in final.items():
        print(f"lr {lr:g} final loss {value:.4f}")
    print("log folders:", n_dirs)


if __name__ == "__main__":
    main()
