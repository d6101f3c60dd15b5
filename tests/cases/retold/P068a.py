"""Keyword spotting baseline."""
from dataclasses import dataclass
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset


@dataclass
class Config:
    lr: float = 1e-2
    epochs: int = 6
    milestones: tuple = (3, 5)
    gamma: float = 0.1
    batch_size: int = 16
    n_mels: int = 20


class SpectrogramDataset(Dataset):
    def __init__(self, size, n_mels, frames=24, seed=0):
        g = torch.Generator().manual_seed(seed)
        self.y = torch.randint(0, 3, (size,), generator=g)
        self.x = torch.randn(size, 1, n_mels, frames, generator=g)
        for i, label in enumerate(self.y.tolist()):
            self.x[i, :, label * 5:label * 5 + 5] += 1.0

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


class KWSNet(nn.Module):
    def __init__(self, n_mels, classes=3):
        super().__init__()
        self.conv = nn.Conv2d(1, 12, (n_mels // 4, 3), stride=(5, 2))
        self.fc = nn.LazyLinear(classes)

    def forward(self, x):
        return self.fc(torch.relu(self.conv(x)).flatten(1))


class Learner:
    def __init__(self, cfg, model):
        self.cfg, self.model = cfg, model
        self.criterion = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.Adam(model.parameters(), lr=cfg.lr)
        self.scheduler = torch.optim.lr_scheduler.MultiStepLR(
            self.optimizer, milestones=list(cfg.milestones), gamma=cfg.gamma)  # BUG

    def optimizer_step(self, loss):
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.scheduler.step()  # BUG
        # FIX:

    def fit(self, loader):
        for epoch in range(self.cfg.epochs):
            self.model.train()
            total = 0.0
            for spec, label in loader:
                loss = self.criterion(self.model(spec), label)
                self.optimizer_step(loss)
                total += loss.item()
            # FIX+: self.scheduler.step()
            lr = self.optimizer.param_groups[0]["lr"]
            print(f"[{epoch + 1}/{self.cfg.epochs}] loss={total / len(loader):.4f} next lr={lr:.2e}")


def main():
    torch.manual_seed(7)
    cfg = Config()
    ds = SpectrogramDataset(96, cfg.n_mels)
    model = KWSNet(cfg.n_mels)
    model(ds.x[:2])  # materialise the lazy layer
    Learner(cfg, model).fit(DataLoader(ds, cfg.batch_size, shuffle=True))


if __name__ == "__main__":
    main()
