"""Small image classifier, exports predictions on request."""
import argparse
import tempfile

import numpy as np
import torch
import torch.nn as nn


class ConvNet(nn.Module):
    def __init__(self, classes=8, pool="avg"):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                                  nn.Conv2d(16, 32, 3, padding=1), nn.ReLU())
        if pool == "avg":
            self.pool = nn.AdaptiveAvgPool2d(1)
        else:
            self.pool = nn.AdaptativeMaxPool2d(1)  # BUG
            # FIX: self.pool = nn.AdaptiveMaxPool2d(1)
        self.fc = nn.Linear(32, classes)

    def forward(self, x):
        return self.fc(self.pool(self.conv(x)).flatten(1))


class Trainer:
    def __init__(self, args):
        self.args = args
        self.model = ConvNet(pool=args.pool)
        self.opt = torch.optim.SGD(self.model.parameters(), lr=args.lr, momentum=0.9)
        self.x = torch.randn(128, 1, 16, 16)
        self.y = torch.randint(8, (128,))

    def train(self):
        for epoch in range(self.args.epochs):
            self.model.train()
            for idx in torch.randperm(128).split(32):
                loss = nn.functional.cross_entropy(self.model(self.x[idx]), self.y[idx])
                self.opt.zero_grad()
                loss.backward()
                self.opt.step()
            print(epoch, round(loss.item(), 4))

    @torch.no_grad()
    def predict(self):
        self.model.eval()
        return self.model(self.x).softmax(1).numpy()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--pool", choices=["avg", "max"], default="avg")
    p.add_argument("--lr", type=float, default=0.05)
    p.add_argument("--epochs", type=int, default=2)
    args = p.parse_args()
    torch.manual_seed(0)
    t = Trainer(args)
    t.train()
    with tempfile.NamedTemporaryFile(suffix=".npy") as f:
        np.save(f, t.predict())


if __name__ == "__main__":
    main()
