"""Segmentation with random crops, reproducible by --seed."""
import argparse
import random

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset


def set_seed(seed):
    torch.manual_seed(seed)  # BUG
    # FIX: random.seed(seed)
    # FIX: np.random.seed(seed)
    # FIX: torch.manual_seed(seed)
    # FIX: torch.backends.cudnn.benchmark = False
    # FIX: torch.use_deterministic_algorithms(True, warn_only=True)


class Augment:
    def __init__(self, crop):
        self.crop = crop

    def __call__(self, img, mask):
        top = np.random.randint(0, img.shape[1] - self.crop + 1)
        left = np.random.randint(0, img.shape[2] - self.crop + 1)
        img = img[:, top:top + self.crop, left:left + self.crop]
        mask = mask[top:top + self.crop, left:left + self.crop]
        if random.random() < 0.5:
            img, mask = img[:, :, ::-1], mask[:, ::-1]
        return torch.from_numpy(img.copy()), torch.from_numpy(mask.copy())


class Shapes(Dataset):
    def __init__(self, n, transform):
        rng = np.random.default_rng(123)     # the data set itself is fixed
        self.imgs = rng.standard_normal((n, 3, 40, 40)).astype(np.float32)
        self.masks = (self.imgs.mean(1) > 0).astype(np.int64)
        self.transform = transform

    def __len__(self):
        return len(self.imgs)

    def __getitem__(self, i):
        return self.transform(self.imgs[i], self.masks[i])


def build_model():
    return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 2, 3, padding=1))


def train(args):
    set_seed(args.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    loader = DataLoader(Shapes(64, Augment(32)), batch_size=16, shuffle=True)
    model = build_model().to(device)
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.train()
    for epoch in range(args.epochs):
        for img, mask in loader:
            loss = nn.functional.cross_entropy(model(img.to(device)), mask.to(device))
            opt.zero_grad()
            loss.backward()
            opt.step()
        print(epoch, f"{loss.item():.6f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--epochs", type=int, default=2)
    train(parser.parse_args())
