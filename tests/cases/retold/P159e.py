"""Denoising diffusion on small 1d waveforms."""
from __future__ import annotations

import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


class Schedule(nn.Module):
    def __init__(self, steps: int = 50):
        super().__init__()
        betas = torch.linspace(1e-4, 0.1, steps)
        abar = torch.cumprod(1.0 - betas, dim=0)
        self.steps = steps
        self.register_buffer("betas", betas)
        self.register_buffer("abar", abar)

    def q_sample(self, x0: torch.Tensor, t: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        a = self.abar[t].view(-1, 1, 1)
        return a.sqrt() * x0 + (1 - a).sqrt() * noise


class TimeEmbedding(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        half = dim // 2
        freqs = torch.exp(-math.log(1000.0) * torch.arange(half) / half)
        self.register_buffer("freqs", freqs, persistent=False)

    def forward(self, t: torch.Tensor) -> torch.Tensor:
        angle = t[:, None].float() * self.freqs[None]
        return torch.cat([angle.sin(), angle.cos()], dim=-1)


class Denoiser(nn.Module):
    def __init__(self, width: int = 32):
        super().__init__()
        self.time = nn.Sequential(TimeEmbedding(width), nn.Linear(width, width), nn.SiLU())
        self.inp = nn.Conv1d(1, width, 5, padding=2)
        self.mid = nn.Conv1d(width, width, 5, padding=2)
        self.norm = nn.GroupNorm(4, width)
        self.out = nn.Conv1d(width, 1, 5, padding=2)

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        h = F.silu(self.inp(x)) + self.time(t)[:, :, None]
        h = h + F.silu(self.norm(self.mid(h)))
        return self.out(h)


def denoising_loss(model: nn.Module, schedule: Schedule, x0: torch.Tensor) -> torch.Tensor:
    t = torch.randint(schedule.steps, (x0.size(0),)).to(x0.device)  # BUG
    # FIX: t = torch.randint(schedule.steps, (x0.size(0),), device=x0.device)
    eps = torch.randn(x0.size()).to(x0)  # BUG
    # FIX: eps = torch.randn_like(x0)
    return F.mse_loss(model(schedule.q_sample(x0, t, eps), t), eps)


@torch.no_grad()
def generate(model: nn.Module, schedule: Schedule, n: int, length: int,
             device: torch.device) -> torch.Tensor:
    model.eval()
    x = torch.randn(n, 1, length, device=device)
    for i in reversed(range(schedule.steps)):
        t = torch.full((n,), i, device=device)
        beta, abar = schedule.betas[i], schedule.abar[i]
        x = (x - beta / (1 - abar).sqrt() * model(x, t)) / (1 - beta).sqrt()
        if i > 0:
            x = x + beta.sqrt() * torch.randn_like(x)
    return x.cpu()


def waveforms(n: int, length: int = 64) -> torch.Tensor:
    phase = 2 * math.pi * torch.rand(n, 1)
    k = torch.randint(1, 4, (n, 1)).float()
    grid = torch.linspace(0, 2 * math.pi, length)
    return torch.sin(k * grid + phase).unsqueeze(1)


def main() -> None:
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    loader = DataLoader(TensorDataset(waveforms(512)), batch_size=64, shuffle=True,
                        pin_memory=device.type == "cuda")
    model, schedule = Denoiser().to(device), Schedule().to(device)
    opt = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for epoch in range(4):
        model.train()
        total = torch.zeros((), device=device)
        for (wave,) in loader:
            loss = denoising_loss(model, schedule, wave.to(device, non_blocking=True))
            opt.zero_grad(set_to_none=True)
            loss.backward()
            opt.step()
            total += loss.detach()
        print(f"epoch {epoch} loss {total.item() / len(loader):.4f}")
    samples = generate(model, schedule, 4, 64, device)
    print("samples", tuple(samples.shape), f"std {samples.std():.3f}")


if __name__ == "__main__":
    main()
