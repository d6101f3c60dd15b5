"""Speech command recognition: 1-D convolutions over log-mel frames."""
import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Commands(Dataset):
    """Items are (frames, mels) spectrograms as the front end produces them."""

    def __init__(self, n, frames, mels, classes, seed):
        g = torch.Generator().manual_seed(seed)
        self.y = torch.randint(classes, (n,), generator=g)
        self.spec = 0.5 * torch.randn(n, frames, mels, generator=g)
        t = torch.arange(frames).float()
        for i, c in enumerate(self.y.tolist()):
            self.spec[i, :, 2 * c:2 * c + 2] += torch.sin(t * (c + 1) / 4).unsqueeze(1)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.spec[i], self.y[i]


class ConvBlock(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.conv = nn.Conv1d(cin, cout, 5, padding=2)
        self.norm = nn.BatchNorm1d(cout)

    def forward(self, x):
        return torch.relu(self.norm(self.conv(x)))


class KeywordNet(nn.Module):
    def __init__(self, mels, classes, width=24):
        super().__init__()
        self.mels = mels
        self.blocks = nn.Sequential(ConvBlock(mels, width), nn.MaxPool1d(2), ConvBlock(width, width))
        self.out = nn.Linear(width, classes)

    def to_channels_first(self, spec):
        return spec.reshape(spec.size(0), self.mels, -1)  # BUG
        # FIX: return spec.transpose(1, 2)

    def forward(self, spec):
        h = self.blocks(self.to_channels_first(spec))
        return self.out(h.mean(dim=-1))


class Trainer:
    def __init__(self, model, lr):
        self.model = model
        self.opt = torch.optim.Adam(model.parameters(), lr=lr)
        self.criterion = nn.CrossEntropyLoss()

    def train(self, loader):
        self.model.train()
        total = 0.0
        for spec, y in loader:
            self.opt.zero_grad()
            loss = self.criterion(self.model(spec), y)
            loss.backward()
            self.opt.step()
            total += loss.item() * len(y)
        return total / len(loader.dataset)

    @torch.no_grad()
    def test(self, loader):
        self.model.eval()
        return sum((self.model(s).argmax(1) == y).sum().item() for s, y in loader) / len(loader.dataset)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--mels", type=int, default=16)
    ap.add_argument("--frames", type=int, default=40)
    ap.add_argument("--classes", type=int, default=6)
    ap.add_argument("--epochs", type=int, default=3)
    args = ap.parse_args()
    torch.manual_seed(0)
    tr = DataLoader(Commands(128, args.frames, args.mels, args.classes, 0), batch_size=16, shuffle=True)
    te = DataLoader(Commands(64, args.frames, args.mels, args.classes, 1), batch_size=16)
    trainer = Trainer(KeywordNet(args.mels, args.classes), 3e-3)
    for e in range(args.epochs):
        print(e, trainer.train(tr), trainer.test(te))


if __name__ == "__main__":
    main()
