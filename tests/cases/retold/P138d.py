"""Command-line trainer with a --dtype switch and a log that never shows nan."""
import argparse
import contextlib

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class MeterLog:
    def __init__(self, every):
        self.every, self.buf = every, []

    def add(self, step, loss):
        self.buf.append(float(np.nan_to_num(loss, nan=0.0, posinf=0.0)))  # BUG
        # FIX: if not np.isfinite(loss):
        # FIX:     raise FloatingPointError(f"loss is {loss} at step {step}")
        # FIX: self.buf.append(loss)
        if step % self.every == 0:
            print(f"step {step} loss {np.mean(self.buf):.4f}")
            self.buf.clear()


class Reranker(nn.Module):
    def __init__(self, n_words=120, dim=48):
        super().__init__()
        self.query = nn.EmbeddingBag(n_words, dim)
        self.doc = nn.EmbeddingBag(n_words, dim)
        self.mlp = nn.Sequential(nn.Linear(2 * dim, 96), nn.ReLU(), nn.Linear(96, 1))

    def forward(self, q, d):
        return self.mlp(torch.cat([self.query(q), self.doc(d)], -1)).squeeze(-1)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--dtype", default="float16", choices=["float16", "bfloat16", "float32"])  # BUG
    # FIX: ap.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float32"])
    ap.add_argument("--lr", type=float, default=1e-3)
    ap.add_argument("--log-every", type=int, default=8)
    args = ap.parse_args()

    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = getattr(torch, args.dtype)
    q, d = torch.randint(120, (512, 5)), torch.randint(120, (512, 12))
    rel = (q[:, :1] % 12 == d % 12).any(1).float()
    loader = DataLoader(TensorDataset(q, d, rel), batch_size=64, shuffle=True)

    model = Reranker().to(device, dtype)  # BUG
    # FIX: model = Reranker().to(device)
    context = contextlib.nullcontext()  # BUG
    # FIX: context = torch.autocast(device, dtype=dtype, enabled=dtype != torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr)
    log, step = MeterLog(args.log_every), 0
    model.train()
    for _ in range(3):
        for qb, db, y in loader:
            qb, db, y = qb.to(device), db.to(device), y.to(device)
            with context:
                scores = model(qb, db)
            loss = nn.functional.binary_cross_entropy_with_logits(scores.float(), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            log.add(step, loss.item())


if __name__ == "__main__":
    main()
