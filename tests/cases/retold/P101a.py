"""Air-quality regression from station readings; gaps in the log are written as NaN."""
import argparse
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


@dataclass
class DataConfig:
    n_rows: int = 400
    n_sensors: int = 6
    missing_value: float = float("nan")
    gap_rate: float = 0.02


def read_station_log(cfg: DataConfig):
    x = torch.randn(cfg.n_rows, cfg.n_sensors)
    w = torch.linspace(-1.0, 1.0, cfg.n_sensors)
    y = x @ w + 0.1 * torch.randn(cfg.n_rows)
    gaps = torch.rand_like(x) < cfg.gap_rate
    x[gaps] = cfg.missing_value
    return x, y


class StationDataset(Dataset):
    def __init__(self, cfg: DataConfig):
        x, y = read_station_log(cfg)
        self.x, self.y = self._drop_incomplete(x, y, cfg)
        self.mean = self.x.mean(dim=0)
        self.std = self.x.std(dim=0).clamp_min(1e-6)

    @staticmethod
    def _drop_incomplete(x, y, cfg):
        complete = (x != cfg.missing_value).all(dim=1)  # BUG
        # FIX: complete = ~torch.isnan(x).any(dim=1)
        return x[complete], y[complete]

    def __len__(self):
        return len(self.y)

    def __getitem__(self, idx):
        return (self.x[idx] - self.mean) / self.std, self.y[idx]


class Regressor(nn.Module):
    def __init__(self, n_in, hidden):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(n_in, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, x):
        return self.net(x).squeeze(-1)


class Trainer:
    def __init__(self, model, loader, lr):
        self.model, self.loader = model, loader
        self.opt = torch.optim.Adam(model.parameters(), lr=lr)
        self.criterion = nn.MSELoss()

    def fit(self, epochs):
        for epoch in range(epochs):
            self.model.train()
            total, seen = 0.0, 0
            for x, y in self.loader:
                self.opt.zero_grad()
                loss = self.criterion(self.model(x), y)
                loss.backward()
                self.opt.step()
                total += loss.item() * len(y)
                seen += len(y)
            print(f"epoch {epoch}: mse {total / seen:.4f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--lr", type=float, default=1e-2)
    parser.add_argument("--hidden", type=int, default=32)
    args = parser.parse_args()
    torch.manual_seed(0)
    cfg = DataConfig()
    dataset = StationDataset(cfg)
    print("rows kept:", len(dataset))
    loader = DataLoader(dataset, batch_size=32, shuffle=True)
    Trainer(Regressor(cfg.n_sensors, args.hidden), loader, args.lr).fit(args.epochs)


if __name__ == "__main__":
    main()
