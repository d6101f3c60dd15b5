import argparse
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset


class NoisyPatches(Dataset):
    def __init__(self, n, size, sigma, seed):
        g = torch.Generator().manual_seed(seed)
        self.clean = torch.rand(n, 1, size, size, generator=g)
        self.noisy = self.clean + sigma * torch.randn(n, 1, size, size, generator=g)

    def __len__(self):
        return len(self.clean)

    def __getitem__(self, i):
        return self.noisy[i], self.clean[i]


class CharbonnierLoss(nn.Module):
    """Charbonnier penalty; without a reference it acts as a prior on the residual itself."""

    def __init__(self, eps=1e-3):
        super().__init__()
        self.eps = eps

    def forward(self, pred, ref=None):
        diff = pred if ref is None else pred - ref
        return torch.sqrt(diff * diff + self.eps ** 2).mean()


class DnCNN(nn.Module):
    def __init__(self, ch=16):
        super().__init__()
        self.head = nn.Conv2d(1, ch, 3, padding=1)
        self.guide = nn.Conv2d(1, ch, 3, padding=1)
        self.tail = nn.Conv2d(ch, 1, 3, padding=1)

    def forward(self, x, guide=None):
        h = self.head(x)
        if guide is not None:
            h = h + self.guide(guide)
        return x - self.tail(torch.relu(h))


class Trainer:
    def __init__(self, args):
        self.args = args
        self.net = DnCNN(args.channels)
        self.charbonnier = CharbonnierLoss()
        self.optim = torch.optim.Adam(self.net.parameters(), lr=args.lr)
        self.loader = DataLoader(NoisyPatches(64, 16, args.sigma, 0), batch_size=16, shuffle=True)
        self.val = DataLoader(NoisyPatches(32, 16, args.sigma, 1), batch_size=16)

    def train_epoch(self):
        self.net.train()
        total = 0.0
        for noisy, clean in self.loader:
            self.optim.zero_grad()
            loss = self.charbonnier(self.net(noisy, clean))  # BUG
            # FIX: loss = self.charbonnier(self.net(noisy), clean)
            loss.backward()
            self.optim.step()
            total += loss.item() * len(noisy)
        return total / len(self.loader.dataset)

    @torch.no_grad()
    def evaluate(self):
        self.net.eval()
        se = sum(((self.net(n) - c) ** 2).sum().item() for n, c in self.val)
        return se / self.val.dataset.clean.numel()


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--channels", type=int, default=16)
    p.add_argument("--sigma", type=float, default=0.1)
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--epochs", type=int, default=3)
    args = p.parse_args()
    torch.manual_seed(0)
    trainer = Trainer(args)
    for epoch in range(args.epochs):
        print(f"epoch {epoch} loss {trainer.train_epoch():.4f} val mse {trainer.evaluate():.4f}")
