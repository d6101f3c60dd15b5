"""Text regression with a choice of heads."""
import argparse

import torch
import torch.nn as nn

HEADS = {}


def register(name):
    def deco(cls):
        HEADS[name] = cls
        return cls
    return deco


@register("linear")
class LinearHead(nn.Module):
    def __init__(self, dim, out):
        super().__init__()
        self.proj = nn.Linear(dim, out)

    def forward(self, h):
        return self.proj(h)


@register("gated")
class GatedHead(nn.Module):
    def __init__(self, dim, out):
        # FIX+: super().__init__()
        self.gate = nn.Linear(dim, dim)  # BUG
        self.proj = nn.Linear(dim, out)

    def forward(self, h):
        return self.proj(torch.sigmoid(self.gate(h)) * h)


class Model(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.emb = nn.Embedding(args.vocab, args.dim)
        self.gru = nn.GRU(args.dim, args.dim, batch_first=True)
        self.head = HEADS[args.head](args.dim, 1)

    def forward(self, ids):
        _, h = self.gru(self.emb(ids))
        return self.head(h[-1]).squeeze(-1)


def train(args):
    torch.manual_seed(args.seed)
    model = Model(args)
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    model.train()
    for step in range(args.steps):
        ids = torch.randint(args.vocab, (32, 16))
        target = (ids < args.vocab // 2).float().mean(1)
        loss = nn.functional.mse_loss(model(ids), target)
        opt.zero_grad()
        loss.backward()
        opt.step()
    return loss.item()


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--head", choices=sorted(HEADS), default="linear")
    p.add_argument("--vocab", type=int, default=128)
    p.add_argument("--dim", type=int, default=32)
    p.add_argument("--steps", type=int, default=15)
    p.add_argument("--seed", type=int, default=0)
    print("loss", train(p.parse_args()))
