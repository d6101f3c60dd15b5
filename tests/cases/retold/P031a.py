"""Tiny DCGAN on synthetic strokes."""
import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Strokes(Dataset):
    def __init__(self, n, size=16, seed=0):
        g = torch.Generator().manual_seed(seed)
        self.images = -torch.ones(n, 1, size, size)
        for i in range(n):
            r = int(torch.randint(1, size - 2, (1,), generator=g))
            if torch.rand((), generator=g) < 0.5:
                self.images[i, 0, r:r + 2] = 1.0
            else:
                self.images[i, 0, :, r:r + 2] = 1.0

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.images[i]


def weights_init(m):
    if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(m.weight, 0.0, 0.02)


class Generator(nn.Module):
    def __init__(self, nz, ngf):
        super().__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(nz, ngf, 4, 1, 0, bias=False), nn.BatchNorm2d(ngf), nn.ReLU(True),
            nn.ConvTranspose2d(ngf, ngf, 4, 2, 1, bias=False), nn.BatchNorm2d(ngf), nn.ReLU(True),
            nn.ConvTranspose2d(ngf, 1, 4, 2, 1), nn.Tanh(),
        )

    def forward(self, z):
        return self.main(z)


class Discriminator(nn.Module):
    def __init__(self, ndf):
        super().__init__()
        layers = [nn.Conv2d(1, ndf, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
        layers += [nn.Conv2d(ndf, ndf, 4, 2, 1, bias=False), nn.BatchNorm2d(ndf), nn.LeakyReLU(0.2)]
        layers += [nn.Conv2d(ndf, 1, 4, 1, 0)]
        layers.append(nn.Sigmoid())  # BUG
        # FIX:
        self.main = nn.Sequential(*layers)

    def forward(self, x):
        return self.main(x).view(-1)


class GANTrainer:
    def __init__(self, opt):
        self.nz = opt.nz
        self.G = Generator(opt.nz, opt.nf).apply(weights_init)
        self.D = Discriminator(opt.nf).apply(weights_init)
        self.criterion = nn.BCEWithLogitsLoss()  # BUG
        self.optG = torch.optim.Adam(self.G.parameters(), lr=opt.lr, betas=(0.5, 0.999))
        self.optD = torch.optim.Adam(self.D.parameters(), lr=opt.lr, betas=(0.5, 0.999))

    def step(self, real):
        ones, zeros = torch.ones(len(real)), torch.zeros(len(real))
        fake = self.G(torch.randn(len(real), self.nz, 1, 1))
        self.optD.zero_grad()
        loss_d = self.criterion(self.D(real), ones) + self.criterion(self.D(fake.detach()), zeros)
        loss_d.backward()
        self.optD.step()

        self.optG.zero_grad()
        loss_g = self.criterion(self.D(fake), ones)
        loss_g.backward()
        self.optG.step()
        return loss_d.item(), loss_g.item()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--nz", type=int, default=8)
    ap.add_argument("--nf", type=int, default=8)
    ap.add_argument("--lr", type=float, default=2e-3)
    ap.add_argument("--epochs", type=int, default=3)
    opt = ap.parse_args()
    torch.manual_seed(0)
    loader = DataLoader(Strokes(96), batch_size=16, shuffle=True)
    gan = GANTrainer(opt)
    gan.G.train()
    gan.D.train()
    for epoch in range(opt.epochs):
        for real in loader:
            loss_d, loss_g = gan.step(real)
        print(f"[{epoch}] loss_D {loss_d:.4f} loss_G {loss_g:.4f}")


if __name__ == "__main__":
    main()
