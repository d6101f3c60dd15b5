"""A deep residual MLP that recomputes its blocks in the backward pass (both modes of checkpointing)."""

import argparse

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.RMSNorm(width)
        self.gate, self.up = nn.Linear(width, 4 * width, bias=False), nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x):
        h = self.norm(x)
        return x + self.dropout(self.down(nn.functional.silu(self.gate(h)) * self.up(h)))


class DeepNet(nn.Module):
    def __init__(self, width, depth, mode):
        super().__init__()
        self.mode = mode
        self.stem = nn.Linear(64, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        self.head = nn.Linear(width, 1)

    def forward(self, x):
        x = self.stem(x)
        if self.mode == "sequential":
            x = checkpoint_sequential(nn.Sequential(*self.blocks), 4, x, use_reentrant=False)
        else:
            for block in self.blocks:
                if self.mode == "none":
                    x = block(x)
                else:
                    x = checkpoint(block, x, use_reentrant=self.mode == "reentrant")
        return self.head(x).squeeze(-1)


parser = argparse.ArgumentParser()
parser.add_argument("--batch-size", type=int, default=4096)
parser.add_argument("--width", type=int, default=1024)
parser.add_argument("--depth", type=int, default=24)
parser.add_argument("--steps", type=int, default=100)
parser.add_argument("--mode", choices=["none", "reentrant", "non-reentrant", "sequential"], default="non-reentrant")
args = parser.parse_args()

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
model = DeepNet(args.width, args.depth, args.mode).to(device)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
for step in range(args.steps):
    x = torch.randn(args.batch_size, 64, device=device)
    y = x.norm(dim=1)
    loss = nn.functional.huber_loss(model(x), y)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    if step % 10 == 0:
        print(step, f"{loss.item():.4f}")
