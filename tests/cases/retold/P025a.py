"""Conditional GAN-style label conditioning for a digit-like denoiser."""
import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class NoisyShapes(Dataset):
    def __init__(self, n, n_classes, dim, seed):
        g = torch.Generator().manual_seed(seed)
        basis = torch.randn(n_classes, dim, generator=torch.Generator().manual_seed(11))
        self.y = torch.randint(n_classes, (n,), generator=g)
        self.clean = basis[self.y] * (0.5 + torch.rand(n, 1, generator=g))
        self.noisy = self.clean + torch.randn(n, dim, generator=g)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.noisy[i], self.clean[i], self.y[i]


class ConditionalDenoiser(nn.Module):
    def __init__(self, dim, n_classes, hidden):
        super().__init__()
        self.n_classes = n_classes
        self.net = nn.Sequential(
            nn.Linear(dim + n_classes, hidden), nn.ReLU(), nn.Linear(hidden, dim)
        )

    def condition(self, x, y):
        code = torch.nn.functional.one_hot(y.long()).to(x.dtype)  # BUG
        # FIX: code = torch.nn.functional.one_hot(y.long(), self.n_classes).to(x.dtype)
        return torch.cat((x, code), dim=-1)

    def forward(self, x, y):
        return x + self.net(self.condition(x, y))


def train(model, loader, opt, epochs):
    for epoch in range(epochs):
        model.train()
        total = 0.0
        for noisy, clean, y in loader:
            opt.zero_grad()
            loss = nn.functional.mse_loss(model(noisy, y), clean)
            loss.backward()
            opt.step()
            total += loss.item() * len(y)
        print(epoch, total / len(loader.dataset))


def evaluate(model, loader):
    model.eval()
    total = 0.0
    with torch.no_grad():
        for noisy, clean, y in loader:
            total += nn.functional.mse_loss(model(noisy, y), clean).item() * len(y)
    return total / len(loader.dataset)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--classes", type=int, default=4)
    ap.add_argument("--dim", type=int, default=10)
    ap.add_argument("--hidden", type=int, default=32)
    ap.add_argument("--epochs", type=int, default=4)
    args = ap.parse_args()
    torch.manual_seed(0)
    train_loader = DataLoader(NoisyShapes(256, args.classes, args.dim, 0), batch_size=64, shuffle=True)
    test_loader = DataLoader(NoisyShapes(128, args.classes, args.dim, 1), batch_size=64)
    model = ConditionalDenoiser(args.dim, args.classes, args.hidden)
    train(model, train_loader, torch.optim.Adam(model.parameters(), lr=5e-3), args.epochs)
    print("test mse", evaluate(model, test_loader))


if __name__ == "__main__":
    main()
