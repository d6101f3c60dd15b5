"""Forecast the next value at every step of invented series with a decoder made of the project's attention.

fix: 15cddb25
depth: live 60
expects: -
where: program
needs: einops, beartype
stands in: rotary_embedding_torch, which this attention does not use here
"""

import math

import torch
import torch.nn.functional as F
from stand_ins import stand_in
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

stand_in("rotary_embedding_torch")

from iTransformer.iTransformer2D import Attention, FeedForward

STEPS = 24


class Forecaster(nn.Module):
    def __init__(self, dim=16, depth=2):
        super().__init__()
        self.embed = nn.Linear(1, dim)
        self.place = nn.Parameter(torch.randn(STEPS, dim) * 0.02)
        self.layers = nn.ModuleList()
        for _ in range(depth):
            attention = Attention(dim, dim_head=8, heads=2, dropout=0.1, causal=True, flash=False)
            self.layers.append(
                nn.ModuleList([nn.LayerNorm(dim), attention, nn.LayerNorm(dim), FeedForward(dim, dropout=0.1)])
            )
        self.read = nn.Linear(dim, 1)

    def forward(self, series):
        x = self.embed(series[..., None]) + self.place
        for norm1, attention, norm2, feed_forward in self.layers:
            x = x + attention(norm1(x))
            x = x + feed_forward(norm2(x))
        return self.read(x).squeeze(-1)


def make_series(count):
    times = torch.arange(STEPS + 1)
    periods = torch.randint(4, 12, (count, 1))
    series = torch.sin(2 * math.pi * times / periods + 6 * torch.rand(count, 1)) + 0.1 * torch.randn(count, STEPS + 1)
    return TensorDataset(series[:, :-1], series[:, 1:])


torch.manual_seed(0)
training, validation = random_split(make_series(320), [256, 64])
training = DataLoader(training, batch_size=32, shuffle=True)
validation = DataLoader(validation, batch_size=32)
net = Forecaster()
optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
for epoch in range(5):
    net.train()
    total = 0.0
    for past, future in training:
        loss = F.mse_loss(net(past), future)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(past)
    net.eval()
    error = 0.0
    with torch.no_grad():
        for past, future in validation:
            error += F.mse_loss(net(past), future).item() * len(past)
    print(
        f"epoch {epoch}: training {total / len(training.dataset):.4f} validation {error / len(validation.dataset):.4f}"
    )
