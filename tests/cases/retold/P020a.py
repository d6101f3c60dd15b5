"""Temporal convolution network: predict a signal from lags 1, 4 and 7 of its driver."""
import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class LagSeries(Dataset):
    def __init__(self, n, length, seed):
        g = torch.Generator().manual_seed(seed)
        u = torch.randn(n, length, generator=g)

        def lag(k):
            return nn.functional.pad(u, (k, 0))[:, :length]

        self.u = u.unsqueeze(1)
        self.y = torch.tanh(0.6 * lag(1) + 0.5 * lag(4) - 0.7 * lag(7))

    def __len__(self):
        return len(self.u)

    def __getitem__(self, i):
        return self.u[i], self.y[i]


class CausalConv(nn.Module):
    def __init__(self, cin, cout, dilation):
        super().__init__()
        self.left = dilation
        self.conv = nn.Conv1d(cin, cout, kernel_size=2, dilation=dilation)
        self.skip = nn.Conv1d(cin, cout, 1, bias=False) if cin != cout else nn.Identity()

    def forward(self, x):
        y = self.conv(nn.functional.pad(x, (self.left, 0)))
        return torch.relu(y) + self.skip(x)


class TCN(nn.Module):
    def __init__(self, width, dilations):
        super().__init__()
        chans = [1] + [width] * len(dilations)
        self.layers = nn.Sequential(*[CausalConv(a, b, d) for a, b, d in zip(chans, chans[1:], dilations)])
        self.out = nn.Conv1d(width, 1, 1)

    def forward(self, u):
        return self.out(self.layers(u)).squeeze(1)


CONFIGS = {
    "tiny": {"width": 8, "dilations": (1, 2)},
    "base": {"width": 16, "dilations": (2, 2, 2)},  # BUG
    # FIX: "base": {"width": 16, "dilations": (1, 2, 4)},
}


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--config", default="base", choices=CONFIGS)
    ap.add_argument("--epochs", type=int, default=8)
    ap.add_argument("--lr", type=float, default=5e-3)
    args = ap.parse_args()
    torch.manual_seed(0)
    train = DataLoader(LagSeries(128, 60, 0), batch_size=16, shuffle=True)
    test = DataLoader(LagSeries(32, 60, 1), batch_size=16)
    model = TCN(**CONFIGS[args.config])
    opt = torch.optim.Adam(model.parameters(), lr=args.lr)
    for epoch in range(args.epochs):
        model.train()
        for u, y in train:
            opt.zero_grad()
            loss = nn.functional.mse_loss(model(u), y)
            loss.backward()
            opt.step()
        model.eval()
        with torch.no_grad():
            err = sum(nn.functional.mse_loss(model(u), y).item() * len(u) for u, y in test)
        print(epoch, f"{loss.item():.4f} {err / len(test.dataset):.4f}")


if __name__ == "__main__":
    main()
