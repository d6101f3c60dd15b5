"""Masked-patch pretraining on short sensor windows (functional style)."""
import torch
import torch.nn as nn


def windows(gen, n=4, t=8, c=3):
    phase = torch.rand(n, 1, c, generator=gen) * 6.28
    return torch.sin(torch.arange(t).view(1, t, 1) * 0.7 + phase)


def corrupt(x, ratio, gen):
    hidden = torch.rand(x.shape[:2], generator=gen) < ratio
    return x.masked_fill(hidden.unsqueeze(-1), 0.0), hidden


def masked_mse(pred, target, hidden):
    per_patch = (pred - target).pow(2).mean(-1)
    return (per_patch * hidden).sum() / hidden.sum()  # BUG
    # FIX: return (per_patch * hidden).sum() / hidden.sum().clamp(min=1)


def build():
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
    return nn.Sequential(nn.Linear(3, 16), nn.TransformerEncoder(layer, 1), nn.Linear(16, 3))


def train(model, steps, ratio, gen):
    opt = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model.train()
    log = []
    for _ in range(steps):
        clean = windows(gen)
        seen, hidden = corrupt(clean, ratio, gen)
        loss = masked_mse(model(seen), clean, hidden)
        opt.zero_grad()
        loss.backward()
        opt.step()
        log.append(loss.detach())
    return torch.stack(log)


if __name__ == "__main__":
    torch.manual_seed(0)
    gen = torch.Generator().manual_seed(4)
    log = train(build(), steps=60, ratio=0.05, gen=gen)
    print("first", [round(v, 3) for v in log[:5].tolist()], "last", [round(v, 3) for v in log[-5:].tolist()])
