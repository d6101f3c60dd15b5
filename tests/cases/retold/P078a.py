"""Transfer learning with a frozen convolutional trunk."""
import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


class Trunk(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.stage = nn.Sequential(nn.Conv2d(width, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.out_dim = width

    def forward(self, x):
        return self.stage(self.stem(x)).mean(dim=(2, 3))


class TransferModel(nn.Module):
    def __init__(self, trunk, n_classes, freeze_trunk=True):
        super().__init__()
        self.trunk = trunk
        self.freeze_trunk = freeze_trunk
        self.classifier = nn.Sequential(nn.Linear(trunk.out_dim, 32), nn.BatchNorm1d(32), nn.ReLU(),
                                        nn.Linear(32, n_classes))
        if freeze_trunk:
            for _, weight in self.trunk.named_parameters():
                weight.requires_grad = False  # BUG

    # FIX+: def train(self, mode=True):
    # FIX+:     super().train(mode)
    # FIX+:     if self.freeze_trunk:
    # FIX+:         self.trunk.eval()
    # FIX+:     return self

    def forward(self, x):
        with torch.set_grad_enabled(self.training and not self.freeze_trunk):
            feat = self.trunk(x)
        return self.classifier(feat)


def pretrain(trunk, images, labels, steps=10):
    probe = nn.Linear(trunk.out_dim, 3)
    opt = torch.optim.SGD([*trunk.parameters(), *probe.parameters()], lr=0.05)
    trunk.train()
    for _ in range(steps):
        loss = F.cross_entropy(probe(trunk(images)), labels)
        opt.zero_grad()
        loss.backward()
        opt.step()
    return trunk


def finetune(model, loader, epochs, lr):
    optimizer = torch.optim.Adam((p for p in model.parameters() if p.requires_grad), lr=lr)
    for epoch in range(epochs):
        model.train()  # BUG
        for x, y in loader:
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            acc = torch.cat([model(x).argmax(1) == y for x, y in loader]).float().mean()
        mean = model.trunk.stem[1].running_mean.norm()
        print(f"epoch {epoch} loss {loss.item():.4f} acc {acc:.3f} stem mean {mean:.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--lr", type=float, default=3e-3)
    args = parser.parse_args()
    torch.manual_seed(0)
    y0 = torch.randint(0, 3, (48,))
    trunk = pretrain(Trunk(), torch.randn(48, 3, 16, 16) + y0.view(-1, 1, 1, 1) * 0.5, y0)
    y1 = torch.randint(0, 2, (64,))
    x1 = torch.randn(64, 3, 16, 16) * (1 + y1.view(-1, 1, 1, 1)) + 2.0
    finetune(TransferModel(trunk, 2), DataLoader(TensorDataset(x1, y1), 16, shuffle=True), args.epochs, args.lr)
