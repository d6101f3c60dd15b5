"""VAE for 16x16 glyphs, with a preview of decoded codes every few iterations."""
import argparse

import torch
from torch import nn
import torch.nn.functional as F


def up(c_in, c_out):
    conv = nn.ConvTranspose2d(c_in, c_out, 4, 2, 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(c_out), nn.ReLU())


class GlyphVAE(nn.Module):
    def __init__(self, z=8):
        super().__init__()
        self.z = z
        self.enc = nn.Sequential(
            nn.Conv2d(1, 16, 4, 2, 1), nn.ReLU(),
            nn.Conv2d(16, 32, 4, 2, 1), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten(),
        )
        self.to_stats = nn.Linear(32 * 16, 2 * z)
        self.from_z = nn.Linear(z, 32 * 16)
        self.dec = nn.Sequential(up(32, 16), nn.ConvTranspose2d(16, 1, 4, 2, 1))

    def decode(self, code):
        return self.dec(self.from_z(code).view(-1, 32, 4, 4))

    def forward(self, x):
        mu, logvar = self.to_stats(self.enc(x)).chunk(2, dim=1)
        code = mu + torch.randn_like(mu) * (0.5 * logvar).exp() if self.training else mu
        return self.decode(code), mu, logvar


def elbo_loss(logits, x, mu, logvar, beta):
    rec = F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(1)
    kl = -0.5 * (1 + logvar - mu.pow(2) - logvar.exp()).sum(1)
    return (rec + beta * kl).mean()


def glyphs(n, g):
    x = torch.zeros(n, 1, 16, 16)
    for i, (r, c, kind) in enumerate(torch.randint(2, 10, (n, 3), generator=g).tolist()):
        if kind % 2:
            x[i, 0, r : r + 5, c : c + 5] = 1.0
        else:
            x[i, 0, r, 2:14] = 1.0
            x[i, 0, 2:14, c] = 1.0
    return x


class Run:
    def __init__(self, args):
        self.args = args
        self.g = torch.Generator().manual_seed(args.seed)
        self.model = GlyphVAE()
        self.opt = torch.optim.Adam(self.model.parameters(), lr=args.lr)
        self.preview_codes = 3.0 * torch.randn(16, self.model.z, generator=self.g)
        self.previews = []

    @torch.no_grad()
    def preview(self):
        # FIX+: self.model.eval()
        tiles = self.model.decode(self.preview_codes).sigmoid()  # BUG
        # FIX+: self.model.train()
        grid = tiles.view(4, 4, 16, 16).permute(0, 2, 1, 3).reshape(64, 64)
        self.previews.append(grid.mul(255).byte())

    def train(self):
        data = glyphs(256, self.g)
        self.model.train()
        for it in range(self.args.iters):
            x = data[torch.randint(len(data), (self.args.batch,), generator=self.g)]
            logits, mu, logvar = self.model(x)
            loss = elbo_loss(logits, x, mu, logvar, self.args.beta)
            self.opt.zero_grad()
            loss.backward()
            self.opt.step()
            if it % self.args.preview_every == 0:
                self.preview()  # BUG
                brightness = self.previews[-1].float().mean().item()
                print(f"iter {it} loss {loss.item():.2f} preview mean {brightness:.1f}")

    @torch.no_grad()
    def test(self):
        self.model.eval()
        x = glyphs(64, self.g)
        logits, mu, logvar = self.model(x)
        return elbo_loss(logits, x, mu, logvar, self.args.beta).item()


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--iters", type=int, default=80)
    p.add_argument("--batch", type=int, default=32)
    p.add_argument("--lr", type=float, default=2e-3)
    p.add_argument("--beta", type=float, default=0.5)
    p.add_argument("--preview-every", type=int, default=5)
    p.add_argument("--seed", type=int, default=0)
    args = p.parse_args()
    torch.manual_seed(args.seed)
    run = Run(args)
    run.train()
    print(f"test loss {run.test():.2f}")
