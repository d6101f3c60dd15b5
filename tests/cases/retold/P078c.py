"""Linear probe on a pretrained encoder."""
import argparse
import io

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


class ConvEncoder(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.stage = nn.Sequential(nn.Conv2d(width, 2 * width, 3, 2, 1, bias=False),
                                   nn.BatchNorm2d(2 * width), nn.ReLU())
        self.out_dim = 2 * width

    def forward(self, x):
        return self.stage(self.stem(x)).mean(dim=(2, 3))


class Probe(nn.Module):
    def __init__(self, encoder, n_classes):
        super().__init__()
        self.encoder = encoder
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(encoder.out_dim, n_classes))
        for p in self.encoder.parameters():  # BUG
            p.requires_grad = False

    # FIX+: def train(self, mode=True):
    # FIX+:     super().train(mode)
    # FIX+:     self.encoder.eval()
    # FIX+:     return self

    def forward(self, x):
        with torch.no_grad():
            feats = self.encoder(x)
        return self.classifier(feats)


def pretrained_encoder():
    """Stands in for a checkpoint download: statistics of a source domain."""
    enc = ConvEncoder()
    enc.train()
    with torch.no_grad():
        for _ in range(10):
            enc(torch.randn(32, 1, 16, 16) * 0.5)
    ckpt = io.BytesIO()
    torch.save(enc.state_dict(), ckpt)
    ckpt.seek(0)
    fresh = ConvEncoder()
    fresh.load_state_dict(torch.load(ckpt, weights_only=True))
    return fresh


def xrays(n):
    y = torch.randint(0, 2, (n,))
    x = torch.randn(n, 1, 16, 16) + 1.0
    x[y == 1, :, 4:10, 4:10] += 1.5
    return TensorDataset(x, y)


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    hit = tot = 0
    for x, y in loader:
        hit += (model(x).argmax(1) == y).sum().item()
        tot += len(y)
    return hit / tot


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--epochs", type=int, default=3)
    ap.add_argument("--lr", type=float, default=0.05)
    args = ap.parse_args()
    torch.manual_seed(5)
    train_dl = DataLoader(xrays(192), batch_size=32, shuffle=True)
    val_dl = DataLoader(xrays(64), batch_size=32)
    model = Probe(pretrained_encoder(), n_classes=2)
    trainable = [p for p in model.parameters() if p.requires_grad]
    opt = torch.optim.SGD(trainable, lr=args.lr, momentum=0.9)
    ce = nn.CrossEntropyLoss()
    for ep in range(args.epochs):
        model.train()  # BUG
        for x, y in train_dl:
            opt.zero_grad()
            loss = ce(model(x), y)
            loss.backward()
            opt.step()
        print(f"epoch {ep} loss {loss.item():.3f} val acc {evaluate(model, val_dl):.3f}")


if __name__ == "__main__":
    main()
