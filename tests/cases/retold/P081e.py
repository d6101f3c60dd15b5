"""Denoising of short waveforms with a 1-d convolutional network."""
import math
from types import SimpleNamespace

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class NoisyTones(Dataset):
    def __init__(self, n, length=256, seed=0):
        g = torch.Generator().manual_seed(seed)
        t = torch.linspace(0, 1, length)
        freq = torch.randint(3, 20, (n, 1), generator=g)
        self.clean = torch.sin(2 * math.pi * freq * t).unsqueeze(1)
        self.noisy = self.clean + 0.4 * torch.randn(n, 1, length, generator=g)

    def __len__(self):
        return len(self.clean)

    def __getitem__(self, i):
        return self.noisy[i], self.clean[i]


class Denoiser(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv1d(1, width, 9, padding=4), nn.ReLU(), nn.Conv1d(width, width, 9, padding=4), nn.ReLU(),
            nn.Conv1d(width, 1, 9, padding=4),
        )

    def forward(self, x):
        return x - self.net(x)


class Smoothed:
    """Exponentially smoothed value for the progress line."""

    def __init__(self, momentum=0.95):
        self.momentum = momentum
        self.value = None

    def update(self, new):
        if self.value is None:
            self.value = new
        else:
            self.value = self.momentum * self.value + (1 - self.momentum) * new  # BUG

    def __str__(self):
        return f"{float(self.value):.4f}"


def spectral_distance(a, b):
    win = torch.hann_window(64)
    spec = lambda w: torch.stft(w.squeeze(1), 64, 32, window=win, return_complex=True).abs()
    return (spec(a) - spec(b).detach()).abs().mean()


def train(cfg):
    torch.manual_seed(cfg.seed)
    model = Denoiser()
    opt = torch.optim.Adam(model.parameters(), lr=cfg.lr)
    loader = DataLoader(NoisyTones(cfg.n), batch_size=cfg.batch_size, shuffle=True)
    shown = {"wave": Smoothed(), "spec": Smoothed()}
    for epoch in range(cfg.epochs):
        model.train()
        for noisy, clean in loader:
            out = model(noisy)
            terms = {"wave": (out - clean).pow(2).mean(), "spec": spectral_distance(out, clean)}
            opt.zero_grad()
            (terms["wave"] + cfg.spec_weight * terms["spec"]).backward()
            opt.step()
            for name, term in terms.items():
                shown[name].update(term)  # BUG
                # FIX: shown[name].update(term.detach())
        print(f"epoch {epoch}", " ".join(f"{k}={v}" for k, v in shown.items()))
    return model


if __name__ == "__main__":
    model = train(SimpleNamespace(seed=4, lr=2e-3, n=128, batch_size=16, epochs=4, spec_weight=0.1))
    model.eval()
    val = NoisyTones(32, seed=1)
    with torch.inference_mode():
        print("val mse", (model(val.noisy) - val.clean).pow(2).mean().item())
