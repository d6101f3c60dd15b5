"""Tabular risk grading with entity embeddings."""
import argparse
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

ACTIVATIONS = {"relu": nn.ReLU(), "tanh": nn.Tanh(), "softmax": nn.Softmax(dim=-1), "none": nn.Identity()}


@dataclass
class ModelConfig:
    n_regions: int = 8
    n_numeric: int = 6
    hidden: int = 32
    grades: int = 4
    inner: str = "relu"
    final: str = "softmax"  # BUG
    # FIX: final: str = "none"


class RiskNet(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.region = nn.Embedding(cfg.n_regions, 4)
        self.fc1 = nn.Linear(cfg.n_numeric + 4, cfg.hidden)
        self.fc2 = nn.Linear(cfg.hidden, cfg.grades)
        self.inner, self.final = ACTIVATIONS[cfg.inner], ACTIVATIONS[cfg.final]

    def forward(self, numeric, region):
        h = torch.cat([numeric, self.region(region)], dim=1)
        return self.final(self.fc2(self.inner(self.fc1(h))))


class Trainer:
    def __init__(self, model, lr):
        self.model = model
        self.optimizer = torch.optim.Adam(model.parameters(), lr=lr)
        self.criterion = nn.CrossEntropyLoss()

    def run(self, loader, epochs):
        for epoch in range(epochs):
            self.model.train()
            total = 0.0
            for numeric, region, grade in loader:
                self.optimizer.zero_grad()
                loss = self.criterion(self.model(numeric, region), grade)  # BUG
                loss.backward()
                self.optimizer.step()
                total += loss.item() * len(grade)
            print(f"epoch {epoch} loss {total / len(loader.dataset):.4f}")

    @torch.no_grad()
    def score(self, loader):
        self.model.eval()
        right = sum((self.model(n, r).argmax(1) == g).sum().item() for n, r, g in loader)
        return right / len(loader.dataset)


def make_table(n, cfg, seed):
    g = torch.Generator().manual_seed(seed)
    numeric = torch.randn(n, cfg.n_numeric, generator=g)
    region = torch.randint(cfg.n_regions, (n,), generator=g)
    risk = numeric[:, 0] - 0.7 * numeric[:, 1] + 0.3 * (region.float() - 3.5)
    grade = torch.bucketize(risk, torch.tensor([-1.0, 0.0, 1.0]))
    return TensorDataset(numeric, region, grade)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--epochs", type=int, default=5)
    ap.add_argument("--lr", type=float, default=1e-2)
    args = ap.parse_args()
    torch.manual_seed(0)
    cfg = ModelConfig()
    trainer = Trainer(RiskNet(cfg), args.lr)
    trainer.run(DataLoader(make_table(384, cfg, 0), batch_size=32, shuffle=True), args.epochs)
    print("accuracy", trainer.score(DataLoader(make_table(128, cfg, 1), batch_size=64)))


if __name__ == "__main__":
    main()
