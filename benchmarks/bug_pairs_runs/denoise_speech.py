"""Train a small convolutional network to clean noisy tones with the library's SI-SDR loss, and validate it.

fix: 8caf1099
depth: live 60
expects: -
where: program
stands in: librosa, scipy and matplotlib, which other losses of the library use
"""

import math

import torch
from stand_ins import stand_in
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

for name in ("librosa", "librosa.filters", "scipy", "scipy.signal", "matplotlib", "matplotlib.pyplot"):
    stand_in(name)

from auraloss.time import SISDRLoss

SAMPLES = 1024


def recordings(count):
    """Stereo tones that come from different sides, with a constant offset of the microphones, and with noise."""
    time = torch.arange(SAMPLES) / 8000
    pitch = 100 + 400 * torch.rand(count, 1, 1)
    side = torch.rand(count, 2, 1) + 0.2
    clean = side * (torch.sin(2 * math.pi * pitch * time) + 0.5 * torch.sin(4 * math.pi * pitch * time + side))
    noisy = clean + 0.5 * torch.randn(count, 2, SAMPLES) + 0.1 * torch.randn(count, 2, 1)
    return noisy, clean


torch.manual_seed(1)
training = DataLoader(TensorDataset(*recordings(128)), batch_size=16, shuffle=True)
validation = DataLoader(TensorDataset(*recordings(32)), batch_size=16)
net = nn.Sequential(
    nn.Conv1d(2, 16, 15, padding=7), nn.PReLU(), nn.Conv1d(16, 16, 15, padding=7), nn.PReLU(),
    nn.Conv1d(16, 2, 15, padding=7),
)  # fmt: skip
optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
criterion = SISDRLoss()
for epoch in range(4):
    net.train()
    total = 0.0
    for noisy, clean in training:
        loss = criterion(net(noisy), clean)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    net.eval()
    with torch.no_grad():
        losses = [criterion(net(noisy), clean).item() for noisy, clean in validation]
    print(f"epoch {epoch}: training {total / len(training):.2f} dB, validation {sum(losses) / len(losses):.2f} dB")
