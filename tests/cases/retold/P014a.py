"""Prototypical network on a long-tailed few-shot set."""
import argparse

import torch
from torch import nn
from torch.utils.data import Dataset


class GlyphSet(Dataset):
    def __init__(self, counts, size, seed):
        g = torch.Generator().manual_seed(seed)
        proto = torch.randn(len(counts), 1, size, size, generator=torch.Generator().manual_seed(99))
        self.y = torch.cat([torch.full((k,), c) for c, k in enumerate(counts)])
        self.x = proto[self.y] + 0.4 * torch.randn(len(self.y), 1, size, size, generator=g)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], self.y[i]

    def of_class(self, c):
        return self.x[self.y == c]


class Encoder(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d((1, 1)),
        )

    def forward(self, x):
        return self.conv(x).squeeze()  # BUG
        # FIX: return self.conv(x).flatten(1)


class ProtoNet(nn.Module):
    def __init__(self, n_classes, width=16):
        super().__init__()
        self.encoder, self.n_classes, self.width = Encoder(width), n_classes, width
        self.scale = nn.Parameter(torch.tensor(5.0))

    def prototypes(self, support):
        protos = torch.zeros(self.n_classes, self.width)
        for c in range(self.n_classes):
            protos[c] = self.encoder(support.of_class(c)).mean(dim=0)
        return protos

    def forward(self, support, query):
        dist = torch.cdist(self.encoder(query), self.prototypes(support))
        return -self.scale * dist


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--counts", type=int, nargs="+", default=[6, 4, 2, 1, 1])
    ap.add_argument("--steps", type=int, default=20)
    ap.add_argument("--lr", type=float, default=5e-3)
    args = ap.parse_args()
    torch.manual_seed(0)
    n = len(args.counts)
    support, query = GlyphSet(args.counts, 12, 0), GlyphSet([8] * n, 12, 1)
    test = GlyphSet([8] * n, 12, 2)
    model = ProtoNet(n)
    opt = torch.optim.Adam(model.parameters(), lr=args.lr)
    for step in range(args.steps):
        model.train()
        opt.zero_grad()
        loss = nn.functional.cross_entropy(model(support, query.x), query.y)
        loss.backward()
        opt.step()
    model.eval()
    with torch.no_grad():
        acc = (model(support, test.x).argmax(1) == test.y).float().mean().item()
    print(f"loss {loss.item():.3f} test accuracy {acc:.3f}")


if __name__ == "__main__":
    main()
