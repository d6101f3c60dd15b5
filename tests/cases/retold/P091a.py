"""Training with numpy augmentation in loader workers."""
import argparse
from functools import partial
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


def seed_worker(worker_id, seed):
    np.random.seed(seed)  # BUG
    # FIX: np.random.seed((seed + torch.initial_seed()) % 2**32)


class CropDataset(Dataset):
    def __init__(self, n, crop):
        self.label = torch.arange(n) % 2
        self.img = torch.rand(n, 1, 20, 20) * 0.5
        self.img[self.label == 1, :, ::2] += 0.5
        self.crop = crop

    def __len__(self):
        return len(self.label)

    def __getitem__(self, i):
        top, left = np.random.randint(0, 20 - self.crop + 1, size=2)
        patch = self.img[i, :, top:top + self.crop, left:left + self.crop]
        if np.random.rand() < 0.5:
            patch = patch.flip(-1)
        return patch, self.label[i]


class Trainer:
    def __init__(self, args):
        self.loader = DataLoader(CropDataset(64, args.crop), batch_size=8, shuffle=True, num_workers=args.workers,
                                 worker_init_fn=partial(seed_worker, seed=args.seed))
        self.net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(32, 2))
        self.opt = torch.optim.Adam(self.net.parameters(), lr=args.lr)

    def fit(self, epochs):
        for epoch in range(epochs):
            self.net.train()
            for x, y in self.loader:
                loss = F.cross_entropy(self.net(x), y)
                self.opt.zero_grad()
                loss.backward()
                self.opt.step()
            print(f"epoch {epoch} loss {loss.item():.4f}")


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--crop", type=int, default=16)
    p.add_argument("--workers", type=int, default=2)
    p.add_argument("--seed", type=int, default=42)
    p.add_argument("--lr", type=float, default=3e-3)
    args = p.parse_args()
    torch.manual_seed(args.seed)
    np.random.seed(args.seed)
    Trainer(args).fit(2)
