# forecasting a long sensor stream with a GRUCell
import math
import torch
from torch import nn

torch.manual_seed(0)
STREAM, WINDOW, BATCH = 600, 25, 8
phase = torch.rand(BATCH, 1) * 2 * math.pi
t = torch.arange(STREAM + 1) / 10
signal = torch.sin(t + phase) + 0.3 * torch.sin(3.1 * t + phase) + 0.05 * torch.randn(BATCH, STREAM + 1)

cell = nn.GRUCell(1, 24)
readout = nn.Linear(24, 1)
params = list(cell.parameters()) + list(readout.parameters())
opt = torch.optim.Adam(params, lr=1e-2)


def update(loss):
    opt.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(params, 1.0)
    opt.step()


for epoch in range(3):
    cell.train()
    h = torch.zeros(BATCH, 24)
    window, seen = [], 0.0
    for k in range(STREAM):
        h = cell(signal[:, k:k + 1], h)  # BUG
        err = (readout(h) - signal[:, k + 1:k + 2]).pow(2).mean()
        window.append(err)
        seen += err.item()
        # FIX+: if len(window) == WINDOW:
        # FIX+:     update(torch.stack(window).mean())
        # FIX+:     window = []
        # FIX+:     h = h.detach()
    update(torch.stack(window).mean())  # BUG
    # FIX:
    print(f"epoch {epoch}: mse {seen / STREAM:.4f}")
