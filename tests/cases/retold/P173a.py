"""Row-sharded parameters are consolidated into one file for inference."""
import argparse
import os
import tempfile

import torch
import torch.nn as nn


class Shard:
    """One worker's part: every world_size-th row of every matrix."""

    def __init__(self, model, rank, world):
        self.parts = {}
        for name, p in model.state_dict().items():
            rows = torch.arange(rank, p.size(0), world)
            self.parts[name] = {"shape": list(p.shape), "rows": rows, "data": p[rows].clone()}

    def save(self, folder, rank):
        torch.save(self.parts, os.path.join(folder, f"shard_{rank:02d}.pt"))


def consolidate(folder, out):
    full = {}
    for fname in sorted(os.listdir(folder)):
        if not fname.startswith("shard_"):
            continue
        parts = torch.load(os.path.join(folder, fname), weights_only=True)
        for name, part in parts.items():
            if name not in full:
                full[name] = torch.zeros(part["shape"], dtype=part["data"].dtype)
            full[name][part["rows"]].copy_(part["data"])  # BUG
            # FIX: full[name][part["rows"]] = part["data"]
    torch.save(full, out)
    print("wrote", len(full), "tensors")


def build():
    return nn.Sequential(nn.Linear(16, 64), nn.GELU(), nn.Linear(64, 4))


def train(model, x, y, steps):
    opt = torch.optim.AdamW(model.parameters(), lr=5e-3)
    model.train()
    for _ in range(steps):
        loss = nn.functional.cross_entropy(model(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
    return loss.item()


@torch.no_grad()
def evaluate(model, x, y):
    model.eval()
    return (model(x).argmax(1) == y).float().mean().item()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--world-size", type=int, default=2)
    ap.add_argument("--steps", type=int, default=20)
    args = ap.parse_args()
    torch.manual_seed(0)
    x = torch.randn(256, 16)
    y = x[:, :4].argmax(1)
    model = build()
    print("train loss", train(model, x, y, args.steps))
    # FIX+: reference = evaluate(model, x, y)
    with tempfile.TemporaryDirectory() as tmp:
        for r in range(args.world_size):
            Shard(model, r, args.world_size).save(tmp, r)
        out = os.path.join(tmp, "model.pt")
        consolidate(tmp, out)
        served = build()
        served.load_state_dict(torch.load(out, weights_only=True))
    # FIX+: assert evaluate(served, x, y) == reference
    print("served acc", evaluate(served, x, y))


if __name__ == "__main__":
    main()
