"""Activity recognition from accelerometer windows."""
import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Accelerometer(Dataset):
    def __init__(self, n, window, seed):
        g = torch.Generator().manual_seed(seed)
        self.y = torch.randint(0, 3, (n,), generator=g)
        t = torch.arange(window).float()
        freq = (self.y.float() + 1)[:, None] * 0.25
        phase = 6.28 * torch.rand(n, 1, generator=g)
        wave = torch.sin(freq * t + phase)
        self.x = torch.stack([wave, wave.roll(2, dims=1), -wave], dim=2)
        self.x = self.x + 0.2 * torch.randn(self.x.shape, generator=g)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


class RecurrentClassifier(nn.Module):
    CELLS = {"lstm": nn.LSTM, "gru": nn.GRU}

    def __init__(self, cell, channels, hidden, n_classes, **rnn_kwargs):
        super().__init__()
        self.rnn = self.CELLS[cell](channels, hidden, **rnn_kwargs)
        self.norm = nn.LayerNorm(hidden)
        self.fc = nn.Linear(hidden, n_classes)

    def forward(self, x):
        # x: (batch, time, channels)
        states, _ = self.rnn(x)
        return self.fc(self.norm(states[:, -1]))


def build(args):
    rnn_kwargs = {"num_layers": args.layers, "bias": True}  # BUG
    # FIX: rnn_kwargs = {"num_layers": args.layers, "bias": True, "batch_first": True}
    return RecurrentClassifier(args.cell, 3, args.hidden, 3, **rnn_kwargs)


def evaluate(model, loader):
    model.eval()
    with torch.no_grad():
        n = sum((model(x).argmax(1) == y).sum().item() for x, y in loader)
    return n / len(loader.dataset)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--cell", default="gru", choices=["gru", "lstm"])
    ap.add_argument("--layers", type=int, default=1)
    ap.add_argument("--hidden", type=int, default=24)
    ap.add_argument("--epochs", type=int, default=4)
    args = ap.parse_args()
    torch.manual_seed(0)
    train = DataLoader(Accelerometer(192, 32, 0), batch_size=16, shuffle=True)
    test = DataLoader(Accelerometer(64, 32, 1), batch_size=16)
    model = build(args)
    opt = torch.optim.Adam(model.parameters(), lr=5e-3)
    for epoch in range(args.epochs):
        model.train()
        for x, y in train:
            opt.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            opt.step()
        print(epoch, loss.item(), evaluate(model, test))


if __name__ == "__main__":
    main()
