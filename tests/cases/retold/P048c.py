"""GAN on a ring of Gaussians."""
import math
from types import SimpleNamespace

import torch
import torch.nn as nn
import torch.nn.functional as F

cfg = SimpleNamespace(z_dim=8, hidden=64, bs=64, iters=60, lr=2e-4, betas=(0.5, 0.999), seed=7)


def ring(n, modes=8, radius=2.0):
    theta = torch.randint(modes, (n,)) * (2 * math.pi / modes)
    pts = torch.stack([theta.cos(), theta.sin()], dim=1) * radius
    return pts + 0.05 * torch.randn(n, 2)


def mlp(i, o):
    return nn.Sequential(nn.Linear(i, cfg.hidden), nn.LeakyReLU(0.2),
                         nn.Linear(cfg.hidden, cfg.hidden), nn.LeakyReLU(0.2),
                         nn.Linear(cfg.hidden, o))


class RingGAN:
    def __init__(self):
        self.gen = mlp(cfg.z_dim, 2)
        self.critic = mlp(2, 1)          # returns logits
        self.opt_g = torch.optim.Adam(self.gen.parameters(), lr=cfg.lr, betas=cfg.betas)
        self.opt_d = torch.optim.Adam(self.critic.parameters(), lr=cfg.lr, betas=cfg.betas)

    def noise(self, n):
        return torch.randn(n, cfg.z_dim)

    def d_objective(self, real):
        fake = self.gen(self.noise(len(real))).detach()
        return -(F.logsigmoid(self.critic(real)).mean() + F.logsigmoid(-self.critic(fake)).mean())

    def g_objective(self, n):
        logit = self.critic(self.gen(self.noise(n)))
        return F.logsigmoid(-logit).mean()  # BUG
        # FIX: return -F.logsigmoid(logit).mean()

    def step(self, real):
        self.opt_d.zero_grad()
        d_loss = self.d_objective(real)
        d_loss.backward()
        self.opt_d.step()

        self.opt_g.zero_grad()
        g_loss = self.g_objective(len(real))
        g_loss.backward()
        self.opt_g.step()
        return d_loss.item(), g_loss.item()


def main():
    torch.manual_seed(cfg.seed)
    gan = RingGAN()
    for it in range(cfg.iters):
        d, g = gan.step(ring(cfg.bs))
        if it % 20 == 0:
            print(f"[{it}] D {d:.3f} G {g:.3f}")
    gan.gen.eval()
    with torch.no_grad():
        r = gan.gen(gan.noise(256)).norm(dim=1)
    print("sample radius", round(r.mean().item(), 3))


if __name__ == "__main__":
    main()
