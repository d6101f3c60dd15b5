"""Diffusion training on toy images."""
import argparse

import torch
import torch.nn as nn


class Denoiser(nn.Module):
    def __init__(self, ch=32, steps=64):
        super().__init__()
        self.temb = nn.Embedding(steps, ch)
        self.inp = nn.Conv2d(1, ch, 3, padding=1)
        self.mid = nn.Conv2d(ch, ch, 3, padding=1)
        self.out = nn.Conv2d(ch, 1, 3, padding=1)

    def forward(self, x, t):
        h = torch.relu(self.inp(x) + self.temb(t)[:, :, None, None])
        return self.out(torch.relu(self.mid(h)))


class Diffusion:
    def __init__(self, steps, device):
        self.steps, self.device = steps, device
        beta = torch.linspace(1e-4, 0.05, steps, device=device)
        self.abar = torch.cumprod(1 - beta, dim=0)

    def noise_like(self, x):
        return torch.randn(x.shape).to(self.device)  # BUG
        # FIX: return torch.randn(x.shape, device=self.device)

    def q_sample(self, x0, t, noise):
        a = self.abar[t].view(-1, 1, 1, 1)
        return a.sqrt() * x0 + (1 - a).sqrt() * noise

    def loss(self, model, x0):
        t = torch.randint(self.steps, (x0.size(0),), device=self.device)
        noise = self.noise_like(x0)
        return nn.functional.mse_loss(model(self.q_sample(x0, t, noise), t), noise)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--timesteps", type=int, default=64)
    p.add_argument("--iters", type=int, default=10)
    args = p.parse_args()
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images = torch.rand(64, 1, 16, 16, device=device) * 2 - 1
    model = Denoiser(steps=args.timesteps).to(device)
    diffusion = Diffusion(args.timesteps, device)
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.train()
    for it in range(args.iters):
        batch = images[torch.randint(64, (16,), device=device)]
        loss = diffusion.loss(model, batch)
        opt.zero_grad()
        loss.backward()
        opt.step()
        if (it + 1) % 5 == 0:
            print(it + 1, f"{loss.item():.4f}")


if __name__ == "__main__":
    main()
