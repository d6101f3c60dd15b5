"""Probe on the hidden states of every other layer of a frozen encoder."""
import argparse

import torch
import torch.nn as nn


class Encoder(nn.Module):
    """Residual MLP; returns the input embedding and the output of each of the layers."""

    def __init__(self, d_in, d, layers):
        super().__init__()
        self.embed = nn.Linear(d_in, d)
        self.layers = nn.ModuleList(nn.Sequential(nn.LayerNorm(d), nn.Linear(d, d), nn.GELU())
                                    for _ in range(layers))

    def forward(self, x):
        states = [self.embed(x)]
        for layer in self.layers:
            states.append(states[-1] + layer(states[-1]))
        return states


class LayerSelect:
    """Keeps layers first, first + step, ... up to and including last."""

    def __init__(self, first, last, step):
        self.index = slice(first, last, step)  # BUG
        # FIX: self.index = slice(first, last + 1, step)

    def __call__(self, states):
        return torch.cat(states[self.index], dim=-1)


class Probe(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.encoder = Encoder(16, args.dim, args.layers).requires_grad_(False)
        self.select = LayerSelect(0, args.layers, 2)
        self.head = nn.LazyLinear(2)

    def forward(self, x):
        with torch.no_grad():
            feats = self.select(self.encoder(x))
        return self.head(feats)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--layers", type=int, default=8)
    p.add_argument("--dim", type=int, default=32)
    p.add_argument("--epochs", type=int, default=3)
    args = p.parse_args()
    torch.manual_seed(0)
    x = torch.randn(256, 16)
    y = (x[:, 0] > 0).long()
    probe = Probe(args)
    probe(x[:2])        # materialise the lazy head
    opt = torch.optim.Adam(probe.head.parameters(), lr=1e-2)
    for epoch in range(args.epochs):
        probe.head.train()
        for idx in torch.randperm(192).split(32):
            loss = nn.functional.cross_entropy(probe(x[idx]), y[idx])
            opt.zero_grad()
            loss.backward()
            opt.step()
        probe.eval()
        with torch.no_grad():
            acc = (probe(x[192:]).argmax(1) == y[192:]).float().mean().item()
        print(epoch, f"acc {acc:.3f} features {probe.head.in_features}")


if __name__ == "__main__":
    main()
