"""A small VGG-like classifier for 64 x 64 crops."""
import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class MiniVGG(nn.Module):
    def __init__(self, n_classes=4):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.conv3 = nn.Conv2d(32, 64, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(64 * 8 * 8, 64)
        self.fc2 = nn.Linear(64, n_classes)

    def forward(self, x):
        # x: (B, 3, 64, 64)
        x = self.pool(torch.relu(self.conv1(x)))  # (B, 32, 32, 32)  # BUG
        # FIX: x = self.pool(torch.relu(self.conv1(x)))  # (B, 16, 32, 32)
        x = self.pool(torch.relu(self.conv2(x)))  # (B, 32, 16, 16)
        x = self.pool(torch.relu(self.conv3(x)))  # (B, 64, 8, 8)
        x = x.flatten(1)  # (B, 2048)  # BUG
        # FIX: x = x.flatten(1)  # (B, 4096)
        x = torch.relu(self.fc1(x))  # (B, 64)
        return self.fc2(x)  # (B, n_classes)


def synthetic_crops(n, n_classes, seed):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(n_classes, (n,), generator=g)  # (n,)
    x = torch.randn(n, 3, 64, 64, generator=g)
    for i, c in enumerate(y.tolist()):
        r, k = divmod(c, 2)
        x[i, 0, 32 * r:32 * r + 32, 32 * k:32 * k + 32] += 1.0
    return TensorDataset(x, y)


class Runner:
    def __init__(self, args):
        self.model = MiniVGG(args.classes)
        self.opt = torch.optim.SGD(self.model.parameters(), lr=args.lr, momentum=0.9)
        self.loss = nn.CrossEntropyLoss()

    def epoch(self, loader):
        self.model.train()
        total = 0.0
        for x, y in loader:
            self.opt.zero_grad()
            loss = self.loss(self.model(x), y)
            loss.backward()
            self.opt.step()
            total += loss.item() * len(y)
        return total / len(loader.dataset)

    @torch.no_grad()
    def accuracy(self, loader):
        self.model.eval()
        right = sum((self.model(x).argmax(1) == y).sum().item() for x, y in loader)
        return right / len(loader.dataset)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--classes", type=int, default=4)
    ap.add_argument("--lr", type=float, default=0.02)
    ap.add_argument("--epochs", type=int, default=3)
    args = ap.parse_args()
    torch.manual_seed(0)
    runner = Runner(args)
    train = DataLoader(synthetic_crops(64, args.classes, 0), batch_size=16, shuffle=True)
    test = DataLoader(synthetic_crops(32, args.classes, 1), batch_size=16)
    for e in range(args.epochs):
        print(e, runner.epoch(train), runner.accuracy(test))


if __name__ == "__main__":
    main()
