"""Stacked encoder whose layers are built by a registry."""
import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F


class MixerLayer(nn.Module):
    def __init__(self, tokens, dim):
        super().__init__()
        self.n1, self.n2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.token = nn.Sequential(nn.Linear(tokens, tokens * 2), nn.GELU(), nn.Linear(tokens * 2, tokens))
        self.channel = nn.Sequential(nn.Linear(dim, dim * 2), nn.GELU(), nn.Linear(dim * 2, dim))

    def forward(self, x):
        x = x + self.token(self.n1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channel(self.n2(x))


class Stack(nn.Module):
    def __init__(self, layer, depth):
        super().__init__()
        self.depth = depth
        for i in range(depth):
            self.add_module(f"layer{i}", layer)  # BUG
            # FIX: self.add_module(f"layer{i}", layer())

    def forward(self, x):
        for i in range(self.depth):
            x = getattr(self, f"layer{i}")(x)
        return x


class Mixer(nn.Module):
    def __init__(self, args, classes=3):
        super().__init__()
        self.patch = nn.Conv2d(1, args.dim, args.patch, stride=args.patch)
        tokens = (16 // args.patch) ** 2
        self.body = Stack(MixerLayer(tokens, args.dim), args.depth)  # BUG
        # FIX: self.body = Stack(lambda: MixerLayer(tokens, args.dim), args.depth)
        self.norm, self.head = nn.LayerNorm(args.dim), nn.Linear(args.dim, classes)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        return self.head(self.norm(self.body(x)).mean(1))


def batch(n=24):
    y = torch.randint(0, 3, (n,))
    x = 0.3 * torch.randn(n, 1, 16, 16)
    x[y == 1, :, :8] += 1
    x[y == 2, :, :, :8] += 1
    return x, y


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--dim", type=int, default=24)
    p.add_argument("--depth", type=int, default=4)
    p.add_argument("--patch", type=int, default=4)
    args = p.parse_args()
    torch.manual_seed(0)
    model = Mixer(args)
    opt = torch.optim.AdamW(model.parameters(), lr=2e-3)
    model.train()
    for it in range(20):
        x, y = batch()
        loss = F.cross_entropy(model(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
    print(f"params {sum(p.numel() for p in model.parameters())} loss {loss.item():.4f}")


if __name__ == "__main__":
    main()
