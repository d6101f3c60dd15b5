"""Remaining-useful-life regression on synthetic turbine sensor windows."""
import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class TurbineDataset(Dataset):
    def __init__(self, n, window, n_sensors, seed):
        g = torch.Generator().manual_seed(seed)
        self.x = torch.randn(n, window, n_sensors, generator=g)
        self.rul = self.x[:, :, :3].mean(dim=(1, 2)) * 4.0 + 0.05 * torch.randn(n, generator=g)

    def __len__(self):
        return len(self.rul)

    def __getitem__(self, i):
        return self.x[i], self.rul[i]


class RULNet(nn.Module):
    def __init__(self, n_sensors, hidden):
        super().__init__()
        self.encoder = nn.GRU(n_sensors, hidden, batch_first=True)
        self.head = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, x):
        _, h = self.encoder(x)
        return self.head(h[-1])


CRITERIA = {"mse": nn.MSELoss, "huber": nn.HuberLoss, "l1": nn.L1Loss}


class Trainer:
    def __init__(self, args):
        self.args = args
        self.model = RULNet(args.sensors, args.hidden)
        self.criterion = CRITERIA[args.loss]()
        self.opt = torch.optim.Adam(self.model.parameters(), lr=args.lr)

    def compute_loss(self, batch):
        windows, rul = batch
        out = self.model(windows)
        return self.criterion(out, rul)  # BUG
        # FIX: return self.criterion(out.squeeze(1), rul)

    def fit(self, loader):
        self.model.train()
        for epoch in range(self.args.epochs):
            total = 0.0
            for batch in loader:
                self.opt.zero_grad()
                loss = self.compute_loss(batch)
                loss.backward()
                self.opt.step()
                total += loss.item() * len(batch[0])
            print(f"epoch {epoch} loss {total / len(loader.dataset):.4f}")

    @torch.no_grad()
    def evaluate(self, loader):
        self.model.eval()
        err = 0.0
        for windows, rul in loader:
            err += (self.model(windows)[:, 0] - rul).abs().sum().item()
        return err / len(loader.dataset)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--loss", default="huber", choices=sorted(CRITERIA))
    p.add_argument("--sensors", type=int, default=6)
    p.add_argument("--hidden", type=int, default=16)
    p.add_argument("--epochs", type=int, default=3)
    p.add_argument("--lr", type=float, default=5e-3)
    args = p.parse_args()
    torch.manual_seed(0)
    trainer = Trainer(args)
    train = DataLoader(TurbineDataset(96, 12, args.sensors, 0), batch_size=16, shuffle=True)
    valid = DataLoader(TurbineDataset(32, 12, args.sensors, 1), batch_size=16)
    trainer.fit(train)
    print(f"valid MAE {trainer.evaluate(valid):.4f}")


if __name__ == "__main__":
    main()
