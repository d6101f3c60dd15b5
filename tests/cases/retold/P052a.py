import argparse
from collections import namedtuple

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

InceptionOut = namedtuple("InceptionOut", ["logits", "aux2", "aux1"])


def conv(cin, cout, k):
    layers = [nn.Conv2d(cin, cout, k, padding=k // 2, bias=False), nn.BatchNorm2d(cout), nn.ReLU()]
    return nn.Sequential(*layers)


class Inception(nn.Module):
    def __init__(self, cin, c):
        super().__init__()
        self.b1, self.b3, self.b5 = conv(cin, c, 1), conv(cin, c, 3), conv(cin, c, 5)

    def forward(self, x):
        return torch.cat([self.b1(x), self.b3(x), self.b5(x)], 1)


class AuxHead(nn.Module):
    def __init__(self, cin, n_classes):
        super().__init__()
        self.fc = nn.Linear(cin * 4, n_classes)

    def forward(self, x):
        return self.fc(F.adaptive_avg_pool2d(x, 2).flatten(1))


class MiniGoogLeNet(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.stem = conv(3, 8, 3)
        self.inc1, self.inc2, self.inc3 = Inception(8, 4), Inception(12, 4), Inception(12, 4)
        self.aux1, self.aux2 = AuxHead(12, n_classes), AuxHead(12, n_classes)
        self.fc = nn.Linear(12, n_classes)

    def forward(self, x):
        x = self.inc1(F.max_pool2d(self.stem(x), 2))
        a1 = self.aux1(x) if self.training else None
        x = self.inc2(x)
        a2 = self.aux2(x) if self.training else None
        logits = self.fc(self.inc3(x).mean((2, 3)))
        return InceptionOut(logits, a2, a1) if self.training else logits


class Engine:
    def __init__(self, args):
        self.args = args
        self.net = MiniGoogLeNet(args.classes)
        self.opt = torch.optim.SGD(self.net.parameters(), lr=args.lr, momentum=0.9)
        self.criterion = nn.CrossEntropyLoss()

    def train_epoch(self, loader):
        self.net.train()
        for img, y in loader:
            out = self.net(img)
            loss = self.criterion(out.logits, y)  # BUG
            # FIX: loss = self.criterion(out.logits, y)
            # FIX: loss = loss + 0.3 * (self.criterion(out.aux1, y) + self.criterion(out.aux2, y))
            self.opt.zero_grad()
            loss.backward()
            self.opt.step()
        return loss.item()

    @torch.no_grad()
    def evaluate(self, img, y):
        self.net.eval()
        return (self.net(img).argmax(1) == y).float().mean().item()


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--classes", type=int, default=3)
    ap.add_argument("--lr", type=float, default=0.02)
    ap.add_argument("--epochs", type=int, default=3)
    args = ap.parse_args()
    torch.manual_seed(0)
    y = torch.randint(args.classes, (128,))
    img = 0.5 * torch.randn(128, 3, 16, 16)
    img[torch.arange(128), y] += 1.0
    engine = Engine(args)
    loader = DataLoader(TensorDataset(img[:96], y[:96]), 16, shuffle=True)
    for ep in range(args.epochs):
        loss = engine.train_epoch(loader)
        print(f"epoch {ep} loss {loss:.3f} acc {engine.evaluate(img[96:], y[96:]):.3f}")
