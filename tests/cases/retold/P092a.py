"""Masked autoencoding of spectra; masks are drawn in the dataset."""
import argparse
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset


class RandomMask:
    def __init__(self, ratio, seed):
        self.ratio = ratio
        self.generator = np.random.RandomState(seed)  # BUG
        # FIX: self.seed = seed
        # FIX: self.generator = None

    def __call__(self, spectrum):
        # FIX+: if self.generator is None:
        # FIX+:     self.generator = np.random.RandomState((self.seed + torch.initial_seed()) % 2**32)
        keep = self.generator.random_sample(spectrum.shape[-1]) >= self.ratio
        return torch.from_numpy(keep)


class SpectraDataset(Dataset):
    def __init__(self, n, bands, transform):
        centre = torch.rand(n, 1) * bands
        self.data = torch.exp(-((torch.arange(bands) - centre) / 5.0) ** 2)
        self.transform = transform

    def __len__(self):
        return len(self.data)

    def __getitem__(self, i):
        return self.data[i], self.transform(self.data[i])


class MaskedAE(nn.Module):
    def __init__(self, bands, hidden):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2 * bands, hidden), nn.ReLU(), nn.Linear(hidden, bands))

    def forward(self, x, keep):
        return self.net(torch.cat([x * keep, keep.float()], dim=-1))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--ratio", type=float, default=0.5)
    p.add_argument("--bands", type=int, default=40)
    p.add_argument("--epochs", type=int, default=2)
    p.add_argument("--num-workers", type=int, default=2)
    p.add_argument("--seed", type=int, default=0)
    args = p.parse_args()
    torch.manual_seed(args.seed)
    ds = SpectraDataset(96, args.bands, RandomMask(args.ratio, args.seed))
    loader = DataLoader(ds, batch_size=12, shuffle=True, num_workers=args.num_workers)
    model = MaskedAE(args.bands, 64)
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    model.train()
    for epoch in range(args.epochs):
        for x, keep in loader:
            hidden = (~keep).float()
            loss = ((model(x, keep) - x).pow(2) * hidden).sum() / hidden.sum().clamp(min=1)
            opt.zero_grad()
            loss.backward()
            opt.step()
        print(f"epoch {epoch} loss {loss.item():.5f}")


if __name__ == "__main__":
    main()
