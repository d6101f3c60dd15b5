"""Gradient accumulation for a memory-hungry autoencoder."""
from types import SimpleNamespace

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class MicroBatcher:
    """counts micro batches and performs the averaged update of one window"""

    def __init__(self, model, optimizer, window):
        self.model, self.optimizer, self.window = model, optimizer, window
        self.reset()

    def reset(self):
        self.micro, self.samples = 0, 0
        self.optimizer.zero_grad()

    def add(self, summed_loss, n):
        summed_loss.backward()
        self.micro += 1
        self.samples += n

    @property
    def full(self):
        return self.micro == self.window

    def flush(self):
        for p in self.model.parameters():
            if p.grad is not None:
                p.grad.div_(self.samples)
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.reset()


def build(cfg):
    return nn.Sequential(
        nn.Linear(cfg.dim, 32), nn.SiLU(), nn.Linear(32, cfg.code), nn.SiLU(), nn.Linear(cfg.code, cfg.dim)
    )


def run_epoch(model, loader, batcher):
    model.train()
    batcher.reset()
    seen, total = 0, 0.0
    for (x,) in loader:
        loss = (model(x) - x).pow(2).mean(dim=1).sum()
        batcher.add(loss, x.size(0))
        seen += x.size(0)
        total += loss.item()
        if batcher.full:  # BUG
        # FIX: if batcher.full or seen == len(loader.dataset):
            batcher.flush()
    return total / seen


def main():
    cfg = SimpleNamespace(dim=20, code=6, micro_batch=16, window=4, epochs=5, lr=5e-3, seed=9)
    torch.manual_seed(cfg.seed)
    data = torch.randn(176, 5) @ torch.randn(5, cfg.dim)
    loader = DataLoader(TensorDataset(data), batch_size=cfg.micro_batch, shuffle=True)
    model = build(cfg)
    optimizer = torch.optim.AdamW(model.parameters(), lr=cfg.lr)
    batcher = MicroBatcher(model, optimizer, cfg.window)
    for epoch in range(cfg.epochs):
        print(f"epoch {epoch + 1}: reconstruction {run_epoch(model, loader, batcher):.4f}")
    model.eval()
    with torch.no_grad():
        print("final", (model(data) - data).pow(2).mean().item())


if __name__ == "__main__":
    main()
