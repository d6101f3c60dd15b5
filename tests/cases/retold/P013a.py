"""Time-series forecasting with patch attention."""
import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Sines(Dataset):
    def __init__(self, n, length, horizon, seed):
        g = torch.Generator().manual_seed(seed)
        t = torch.arange(length + horizon).float()
        freq = 0.1 + 0.4 * torch.rand(n, 1, generator=g)
        phase = 6.28 * torch.rand(n, 1, generator=g)
        self.series = torch.sin(freq * t + phase) + 0.05 * torch.randn(n, length + horizon, generator=g)
        self.length = length

    def __len__(self):
        return len(self.series)

    def __getitem__(self, i):
        return self.series[i, :self.length], self.series[i, self.length:]


class Patchify(nn.Module):
    def __init__(self, patch):
        super().__init__()
        self.patch = patch

    def forward(self, x):
        patches = x.unflatten(-1, (-1, self.patch))
        patches = patches.clone(memory_format=torch.contiguous_format)  # BUG
        # FIX:
        return patches


class Forecaster(nn.Module):
    def __init__(self, length, patch, horizon, dim=32, heads=4):
        super().__init__()
        self.patchify = Patchify(patch)
        self.embed = nn.Linear(patch, dim)
        self.pos = nn.Parameter(torch.zeros(length // patch, dim))
        self.attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.head = nn.Linear(dim * (length // patch), horizon)

    def forward(self, x):
        h = self.embed(self.patchify(x)) + self.pos
        h = h + self.attn(h, h, h, need_weights=False)[0]
        h = h.transpose(1, 2).contiguous()
        return self.head(h.view(h.size(0), -1))


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--length", type=int, default=48)
    ap.add_argument("--patch", type=int, default=8)
    ap.add_argument("--horizon", type=int, default=6)
    ap.add_argument("--epochs", type=int, default=4)
    args = ap.parse_args()
    torch.manual_seed(0)
    train = DataLoader(Sines(128, args.length, args.horizon, 0), batch_size=16, shuffle=True)
    valid = DataLoader(Sines(32, args.length, args.horizon, 1), batch_size=16)
    model = Forecaster(args.length, args.patch, args.horizon)
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(args.epochs):
        model.train()
        for past, future in train:
            opt.zero_grad()
            loss = nn.functional.mse_loss(model(past), future)
            loss.backward()
            opt.step()
        model.eval()
        with torch.no_grad():
            val = sum(nn.functional.mse_loss(model(p), f).item() * len(p) for p, f in valid)
        print(epoch, loss.item(), val / len(valid.dataset))


if __name__ == "__main__":
    main()
