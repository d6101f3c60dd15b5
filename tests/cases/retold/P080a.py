"""Lipschitz-bounded critic: report the bound of a freshly built or loaded critic."""
import argparse
import torch
import torch.nn as nn
from torch.nn.utils import spectral_norm  # BUG
# FIX: from torch.nn.utils.parametrizations import spectral_norm


class Critic(nn.Module):
    def __init__(self, dims):
        super().__init__()
        layers = []
        for i, o in zip(dims[:-1], dims[1:]):
            layers += [spectral_norm(nn.Linear(i, o), n_power_iterations=5), nn.LeakyReLU(0.2)]  # BUG
        self.net = nn.Sequential(*layers[:-1])

    def forward(self, x):
        return self.net(x).squeeze(-1)

    def lipschitz_bound(self):
        bound = 1.0
        for m in self.net:
            if isinstance(m, nn.Linear):
                bound *= torch.linalg.matrix_norm(m.weight.detach(), ord=2).item()
        return bound


class WGAN:
    def __init__(self, args):
        self.generator = nn.Sequential(nn.Linear(args.z, 32), nn.ReLU(), nn.Linear(32, 2))
        self.critic = Critic([2, 64, 64, 1])
        self.opt_g = torch.optim.Adam(self.generator.parameters(), lr=args.lr, betas=(0.0, 0.9))
        self.opt_d = torch.optim.Adam(self.critic.parameters(), lr=args.lr, betas=(0.0, 0.9))
        self.z = args.z

    def report(self, tag):
        self.critic.eval()
        with torch.no_grad():
            probe = self.critic(torch.randn(64, 2))
        print(f"{tag}: bound {self.critic.lipschitz_bound():.3f} score std {probe.std():.3f}")  # BUG

    def step(self, real):
        self.critic.train()
        self.generator.train()
        fake = self.generator(torch.randn(len(real), self.z))
        d_loss = self.critic(fake.detach()).mean() - self.critic(real).mean()
        self.opt_d.zero_grad()
        d_loss.backward()
        self.opt_d.step()
        g_loss = -self.critic(fake).mean()
        self.opt_g.zero_grad()
        g_loss.backward()
        self.opt_g.step()
        return d_loss.item(), g_loss.item()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--z", type=int, default=8)
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--steps", type=int, default=20)
    args = p.parse_args()
    torch.manual_seed(0)
    gan = WGAN(args)
    gan.report("before training")
    for _ in range(args.steps):
        angle = torch.rand(64) * 6.28
        d, g = gan.step(torch.stack([angle.cos(), angle.sin()], 1))
    print(f"d {d:.3f} g {g:.3f}")
    gan.report("after training")


if __name__ == "__main__":
    main()
