"""DCGAN-like training on toy 16x16 images."""
import argparse

import torch
import torch.nn as nn


class Generator(nn.Module):
    def __init__(self, z_dim):
        super().__init__()
        self.z_dim = z_dim
        self.net = nn.Sequential(
            nn.ConvTranspose2d(z_dim, 32, 4, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
            nn.ConvTranspose2d(32, 16, 4, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
            nn.ConvTranspose2d(16, 1, 4, 2, 1), nn.Tanh())

    def forward(self, z):
        return self.net(z[:, :, None, None])


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(1, 16, 4, 2, 1), nn.LeakyReLU(0.2),
                                 nn.Conv2d(16, 32, 4, 2, 1), nn.LeakyReLU(0.2),
                                 nn.Flatten(), nn.Linear(32 * 16, 1))

    def forward(self, x):
        return self.net(x).squeeze(1)


class GAN:
    def __init__(self, args):
        self.args = args
        self.G, self.D = Generator(args.z_dim), Discriminator()
        self.opt_g = torch.optim.Adam(self.G.parameters(), 2e-4, betas=(0.5, 0.999))
        self.opt_d = torch.optim.Adam(self.D.parameters(), 2e-4, betas=(0.5, 0.999))
        self.bce = nn.BCEWithLogitsLoss()
        self.fixed_z = torch.randn(4, args.z_dim)

    @torch.no_grad()
    def sample_image(self):
        # FIX+: self.G.eval()
        grid = self.G(self.fixed_z)  # BUG
        # FIX: grid = self.G(self.fixed_z)
        # FIX: self.G.train()
        return (grid.clamp(-1, 1) + 1) / 2

    def step(self, real):
        n = real.size(0)
        fake = self.G(torch.randn(n, self.args.z_dim))
        d_loss = self.bce(self.D(real), torch.ones(n)) + self.bce(self.D(fake.detach()), torch.zeros(n))
        self.opt_d.zero_grad()
        d_loss.backward()
        self.opt_d.step()
        g_loss = self.bce(self.D(fake), torch.ones(n))
        self.opt_g.zero_grad()
        g_loss.backward()
        self.opt_g.step()
        return d_loss.detach(), g_loss.detach()

    def fit(self, images):
        self.G.train()
        self.D.train()
        for it in range(self.args.iters):
            d, g = self.step(images[torch.randint(len(images), (16,))])
            if (it + 1) % self.args.sample_every == 0:
                img = self.sample_image()
                print(it + 1, f"D {d.item():.3f} G {g.item():.3f} brightness {img.mean().item():.3f}")


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--z-dim", type=int, default=16)
    p.add_argument("--iters", type=int, default=12)
    p.add_argument("--sample-every", type=int, default=4)
    torch.manual_seed(0)
    ramp = torch.linspace(-1, 1, 16).expand(64, 1, 16, 16)
    GAN(p.parse_args()).fit((ramp + 0.1 * torch.randn(64, 1, 16, 16)).clamp(-1, 1))
