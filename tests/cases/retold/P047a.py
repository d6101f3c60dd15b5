import argparse
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


class Generator(nn.Module):
    def __init__(self, nz, d):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(nz, 32), nn.LeakyReLU(0.2), nn.Linear(32, d))

    def forward(self, z):
        return self.net(z)


class Discriminator(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(d, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))

    def forward(self, x):
        return self.net(x).squeeze(1)


class GANTrainer:
    def __init__(self, opt):
        self.opt = opt
        self.G, self.D = Generator(opt.nz, 2), Discriminator(2)
        self.optG = torch.optim.Adam(self.G.parameters(), lr=opt.lr, betas=(0.5, 0.999))
        self.optD = torch.optim.Adam(self.D.parameters(), lr=opt.lr, betas=(0.5, 0.999))
        self.bce = nn.BCEWithLogitsLoss()

    def step(self, real):
        n = real.size(0)
        ones, zeros = torch.ones(n), torch.zeros(n)
        self.optG.zero_grad()
        self.optD.zero_grad()
        fake = self.G(torch.randn(n, self.opt.nz))

        lossD = self.bce(self.D(real), ones) + self.bce(self.D(fake), zeros)  # BUG
        # FIX: lossD = self.bce(self.D(real), ones) + self.bce(self.D(fake.detach()), zeros)
        lossD.backward(retain_graph=True)  # BUG
        # FIX: lossD.backward()
        self.optD.step()

        lossG = self.bce(self.D(fake), ones)
        lossG.backward()
        self.optG.step()
        return lossD.item(), lossG.item()

    @torch.no_grad()
    def sample(self, n):
        self.G.eval()
        out = self.G(torch.randn(n, self.opt.nz))
        self.G.train()
        return out


def ring(n):
    angle = torch.rand(n) * 6.2832
    return torch.stack([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(n, 2)


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--nz", type=int, default=4)
    ap.add_argument("--lr", type=float, default=1e-3)
    ap.add_argument("--epochs", type=int, default=4)
    ap.add_argument("--batch", type=int, default=64)
    opt = ap.parse_args()
    torch.manual_seed(0)
    trainer = GANTrainer(opt)
    loader = DataLoader(TensorDataset(ring(512)), opt.batch, shuffle=True)
    for epoch in range(opt.epochs):
        for (real,) in loader:
            d, g = trainer.step(real)
        print(f"[{epoch}] D {d:.3f} G {g:.3f} radius {trainer.sample(256).norm(dim=1).mean().item():.3f}")
