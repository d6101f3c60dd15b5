import argparse

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class SpectraDataset(Dataset):
    """Synthetic IR spectra with a concentration to predict."""

    def __init__(self, n, n_bins, seed):
        rng = np.random.default_rng(seed)
        grid = np.linspace(-1, 1, n_bins)
        self.conc = rng.uniform(0.5, 2.0, size=(n, 1))
        peak = np.exp(-grid ** 2 / 0.05)
        self.spectra = self.conc * peak + 0.05 * rng.standard_normal((n, n_bins))

    def __len__(self):
        return self.spectra.shape[0]

    def __getitem__(self, i):
        spectrum = torch.as_tensor(self.spectra[i])  # BUG
        # FIX: spectrum = torch.as_tensor(self.spectra[i], dtype=torch.float32)
        target = torch.as_tensor(self.conc[i])  # BUG
        # FIX: target = torch.as_tensor(self.conc[i], dtype=torch.float32)
        return spectrum.unsqueeze(0), target


class SpectraNet(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv1d(1, width, 7, padding=3), nn.GELU(),
            nn.Conv1d(width, width, 7, stride=4, padding=3), nn.GELU(),
        )
        self.head = nn.Linear(width, 1)

    def forward(self, x):
        return self.head(self.features(x).mean(dim=-1))


class Trainer:
    def __init__(self, args):
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.train_set = SpectraDataset(160, args.bins, seed=args.seed)
        self.valid_set = SpectraDataset(40, args.bins, seed=args.seed + 1)
        self.loader = DataLoader(self.train_set, batch_size=args.batch_size, shuffle=True)
        sample, _ = self.train_set[0]
        self.model = SpectraNet(args.width).to(device=self.device, dtype=sample.dtype)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=args.lr)
        self.epochs = args.epochs

    def step(self, x, y):
        x, y = x.to(self.device), y.to(self.device)
        self.optimizer.zero_grad()
        loss = nn.functional.mse_loss(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    @torch.no_grad()
    def validate(self):
        self.model.eval()
        errs = [(self.model(x.to(self.device)) - y.to(self.device)).abs().mean().item()
                for x, y in DataLoader(self.valid_set, batch_size=20)]
        return sum(errs) / len(errs)

    def fit(self):
        for epoch in range(self.epochs):
            self.model.train()
            losses = [self.step(x, y) for x, y in self.loader]
            print(f"[{epoch}] mse={np.mean(losses):.4f} val_mae={self.validate():.4f}")


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--bins", type=int, default=64)
    p.add_argument("--width", type=int, default=16)
    p.add_argument("--batch-size", type=int, default=20)
    p.add_argument("--lr", type=float, default=1e-2)
    p.add_argument("--epochs", type=int, default=3)
    p.add_argument("--seed", type=int, default=0)
    args = p.parse_args()
    torch.manual_seed(args.seed)
    Trainer(args).fit()
