"""Train a regressor from JSON lines."""
import argparse
import json
import random
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset


def fake_lines(n, seed):
    rng = random.Random(seed)
    for i in range(n):
        a, b = rng.random(), rng.random()
        line = json.dumps({"a": a, "b": b, "y": a - 2 * b})
        yield line[:-3] if i % 6 == 0 else line


class JsonlDataset(Dataset):
    def __init__(self, lines):
        # FIX+: self.rejected = 0
        parsed = (self.parse(line) for line in lines)
        self.rows = [r for r in parsed if r is not None]  # BUG
        # FIX: self.rows = [r for r in parsed if r is not None]
        # FIX: total = len(self.rows) + self.rejected
        # FIX: print(f"rejected {self.rejected} of {total} records")
        # FIX: if self.rejected > 0.25 * total:
        # FIX:     raise RuntimeError("too many bad records")

    def parse(self, line):
        try:
            rec = json.loads(line)
            return torch.tensor([rec["a"], rec["b"]]), torch.tensor([rec["y"]])
        except Exception:  # BUG
        # FIX: except json.JSONDecodeError:
            # FIX+: self.rejected += 1
            return None  # BUG

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows[i]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--epochs", type=int, default=4)
    p.add_argument("--lr", type=float, default=1e-2)
    args = p.parse_args()
    torch.manual_seed(0)
    loader = DataLoader(JsonlDataset(fake_lines(200, 1)), batch_size=16, shuffle=True)
    net = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 1))
    opt = torch.optim.Adam(net.parameters(), lr=args.lr)
    net.train()
    for epoch in range(args.epochs):
        for x, y in loader:
            loss = nn.functional.mse_loss(net(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
        print(f"epoch {epoch} loss {loss.item():.5f}")


if __name__ == "__main__":
    main()
