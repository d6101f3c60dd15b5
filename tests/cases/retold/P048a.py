import argparse
from dataclasses import dataclass

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


@dataclass
class Losses:
    d: float = 0.0
    g: float = 0.0


class GANLoss(nn.Module):
    """Adversarial objective on the probabilities of the discriminator."""

    def __init__(self):
        super().__init__()
        self.bce = nn.BCELoss()

    def discriminator(self, p_real, p_fake):
        return self.bce(p_real, torch.ones_like(p_real)) + self.bce(p_fake, torch.zeros_like(p_fake))

    def generator(self, p_fake):
        return -self.bce(p_fake, torch.zeros_like(p_fake))  # BUG
        # FIX: return self.bce(p_fake, torch.ones_like(p_fake))


def make_g(nz, ngf):
    return nn.Sequential(nn.ConvTranspose2d(nz, ngf, 4, 1, 0), nn.ReLU(),
                         nn.ConvTranspose2d(ngf, 1, 4, 2, 1), nn.Tanh())


def make_d(ndf):
    return nn.Sequential(nn.Conv2d(1, ndf, 4, 2, 1), nn.LeakyReLU(0.2),
                         nn.Conv2d(ndf, 1, 4, 1, 0), nn.Flatten(0), nn.Sigmoid())


class DCGAN:
    def __init__(self, args):
        self.nz = args.nz
        self.netG, self.netD = make_g(args.nz, 16), make_d(16)
        self.loss = GANLoss()
        self.optG = torch.optim.Adam(self.netG.parameters(), args.lr, betas=(0.5, 0.999))
        self.optD = torch.optim.Adam(self.netD.parameters(), args.lr, betas=(0.5, 0.999))

    def noise(self, n):
        return torch.randn(n, self.nz, 1, 1)

    def train_step(self, real):
        fake = self.netG(self.noise(len(real)))
        self.optD.zero_grad()
        d = self.loss.discriminator(self.netD(real), self.netD(fake.detach()))
        d.backward()
        self.optD.step()

        self.optG.zero_grad()
        g = self.loss.generator(self.netD(fake))
        g.backward()
        self.optG.step()
        return Losses(d.item(), g.item())


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--nz", type=int, default=10)
    ap.add_argument("--lr", type=float, default=5e-4)
    ap.add_argument("--epochs", type=int, default=4)
    args = ap.parse_args()
    torch.manual_seed(0)
    imgs = -torch.ones(256, 1, 8, 8)
    for i, col in enumerate(torch.randint(0, 7, (256,)).tolist()):
        imgs[i, 0, :, col:col + 2] = 1.0
    gan = DCGAN(args)
    for epoch in range(args.epochs):
        for (real,) in DataLoader(TensorDataset(imgs), 32, shuffle=True):
            stats = gan.train_step(real)
        print(epoch, stats)


if __name__ == "__main__":
    main()
