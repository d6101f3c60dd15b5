"""Train a small audio autoencoder with spectral, waveform and latent losses, and validate each epoch.

fix: 613ef9e9
depth: live 60
expects: -
where: program
stands in: the package's __init__ (gin and cached_conv) does not run
"""

import torch
import torch.nn.functional as F
from stand_ins import load
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

balancer = load("rave/balancer.py")


class Autoencoder(nn.Module):
    def __init__(self, width=16, latent=4):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv1d(1, width, 8, 4, 2), nn.LeakyReLU(0.2), nn.Conv1d(width, 2 * latent, 8, 4, 2)
        )
        self.decoder = nn.Sequential(
            nn.ConvTranspose1d(latent, width, 8, 4, 2), nn.LeakyReLU(0.2), nn.ConvTranspose1d(width, 1, 8, 4, 2)
        )

    def forward(self, x):
        mean, scale = self.encoder(x).chunk(2, 1)
        spread = F.softplus(scale) + 1e-4
        divergence = 0.5 * (mean**2 + spread**2 - 2 * spread.log() - 1).sum(1).mean()
        return self.decoder(mean + spread * torch.randn_like(mean) if self.training else mean), divergence


def spectral_distance(x, y, size):
    window = torch.hann_window(size)
    x, y = (torch.stft(s.squeeze(1), size, window=window, return_complex=True).abs() for s in (x, y))
    return (x - y).norm() / x.norm() + (torch.log1p(x) - torch.log1p(y)).abs().mean()


def tones(count):
    at = torch.arange(1024) / 1024
    pitch = 8 + 56 * torch.rand(count, 3, 1)
    return TensorDataset((torch.sin(6.283 * pitch * at) * torch.rand(count, 3, 1)).mean(1, keepdim=True))


torch.manual_seed(0)
train_loader = DataLoader(tones(96), batch_size=8, shuffle=True)
val_loader = DataLoader(tones(32), batch_size=8)
model = Autoencoder()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.5, 0.9))
balance = balancer.Balancer(
    ema_averager=balancer.EMA,
    weights={"spectral": 2, "waveform": 1, "regularization": 0.1},
    scale_gradients=False,
    deny_list=["regularization"],
)

for epoch in range(3):
    model.train()
    for (x,) in train_loader:
        y, divergence = model(x)
        losses = {
            "spectral": sum(spectral_distance(x, y, size) for size in (64, 128, 256)),
            "waveform": F.l1_loss(y, x),
            "regularization": divergence,
        }
        optimizer.zero_grad()
        balance.backward(losses, y, logger=None)
        optimizer.step()
    model.eval()
    with torch.no_grad():
        results = [(spectral_distance(x, y, 128).item(), kl.item()) for (x,) in val_loader for y, kl in [model(x)]]
    distance, kl = (sum(column) / len(results) for column in zip(*results))
    print(f"epoch {epoch}: spectral distance {distance:.4f} divergence {kl:.4f}")
