"""Click-through model on an event log read into memory at start."""
import csv
import io
import random

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

FIELDS = ("user", "item", "hour", "clicked")


def fake_log(n, seed):
    rng = random.Random(seed)
    out = io.StringIO()
    w = csv.writer(out)
    w.writerow(FIELDS)
    for _ in range(n):
        u, i, h = rng.randrange(500), rng.randrange(300), rng.randrange(24)
        w.writerow((u, i, h, int((u + i) % 3 == 0)))
    out.seek(0)
    return out


class EventLog(Dataset):
    """In production about 60 million rows."""

    def __init__(self, handle):
        reader = csv.DictReader(handle)
        self.events = [{k: int(v) for k, v in row.items()} for row in reader]  # BUG
        # FIX: rows = (tuple(int(row[k]) for k in FIELDS) for row in reader)
        # FIX: self.events = np.fromiter(rows, dtype=[(k, np.int32) for k in FIELDS])

    def __len__(self):
        return len(self.events)

    def __getitem__(self, i):
        e = self.events[i]
        ids = np.array([e["user"], e["item"], e["hour"]], dtype=np.int64)
        return ids, np.float32(e["clicked"])


class FM(nn.Module):
    def __init__(self, sizes, k=8):
        super().__init__()
        self.register_buffer("offset", torch.tensor([0, *np.cumsum(sizes)[:-1].tolist()]))
        self.w = nn.Embedding(sum(sizes), 1)
        self.v = nn.Embedding(sum(sizes), k)
        self.b = nn.Parameter(torch.zeros(()))
        nn.init.normal_(self.v.weight, std=0.1)
        nn.init.zeros_(self.w.weight)

    def forward(self, ids):
        ids = ids + self.offset  # (B, 3) + (3,)
        v = self.v(ids)
        pair = 0.5 * (v.sum(1).square() - v.square().sum(1)).sum(-1)
        return self.b + self.w(ids).sum((1, 2)) + pair


if __name__ == "__main__":
    torch.manual_seed(0)
    events = EventLog(fake_log(6000, seed=0))
    loader = DataLoader(events, batch_size=256, shuffle=True, num_workers=2, persistent_workers=True)
    model = FM([500, 300, 24])
    opt = torch.optim.Adam(model.parameters(), lr=1e-2)
    model.train()
    for epoch in range(2):
        seen, total = 0, 0.0
        for ids, clicked in loader:
            loss = nn.functional.binary_cross_entropy_with_logits(model(ids), clicked)
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item() * len(clicked)
            seen += len(clicked)
        print(f"epoch {epoch} logloss {total / seen:.4f}")
