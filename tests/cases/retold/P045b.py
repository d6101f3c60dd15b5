"""Accelerate-like loop: a context object decides when the optimizer moves."""
import contextlib

import torch
from torch import nn


class TinyAccelerator:
    def __init__(self, gradient_accumulation_steps=1):
        self.n = gradient_accumulation_steps
        self._count = 0
        self.sync_gradients = False

    @contextlib.contextmanager
    def accumulate(self, is_last):
        self._count += 1
        self.sync_gradients = self._count % self.n == 0  # BUG
        # FIX: self.sync_gradients = self._count % self.n == 0 or is_last
        yield

    def backward(self, loss):
        (loss / self.n).backward()


def batches(x, y, size):
    order = torch.randperm(len(x))
    parts = order.split(size)
    for j, part in enumerate(parts):
        yield x[part], y[part], j == len(parts) - 1


def main():
    torch.manual_seed(0)
    x = torch.randn(88, 14)
    y = (x @ torch.randn(14) > 0).float()
    model = nn.Sequential(nn.Linear(14, 16), nn.ReLU(), nn.Linear(16, 1), nn.Flatten(0))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    accelerator = TinyAccelerator(gradient_accumulation_steps=3)
    for epoch in range(4):
        model.train()
        optimizer.zero_grad()
        moves = 0
        for xb, yb, is_last in batches(x, y, 8):
            with accelerator.accumulate(is_last):
                loss = nn.functional.binary_cross_entropy_with_logits(model(xb), yb)
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    optimizer.step()
                    optimizer.zero_grad()
                    moves += 1
        accelerator._count = 0
        model.eval()
        with torch.no_grad():
            acc = ((model(x) > 0) == y.bool()).float().mean()
        print(f"epoch {epoch}: {moves} updates, loss {loss.item():.3f}, acc {acc.item():.3f}")


if __name__ == "__main__":
    main()
