"""Plant leaf classification, images read as uint8 arrays."""
import argparse

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class LeafDataset(Dataset):
    MEAN = np.array([0.45, 0.5, 0.4], dtype=np.float32)
    STD = np.array([0.25, 0.25, 0.25], dtype=np.float32)

    def __init__(self, n, size, seed):
        rng = np.random.default_rng(seed)
        self.labels = rng.integers(0, 3, size=n)
        images = rng.normal(115, 30, size=(n, size, size, 3))
        for i, c in enumerate(self.labels):
            images[i, :, :, c] += 25
        self.images = images.clip(0, 255).astype(np.uint8)  # as an image library gives them

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        img = self.images[i].astype(np.float32) / 255.0
        img = (img - self.MEAN) / self.STD  # last axis is RGB
        x = torch.from_numpy(img)  # BUG
        # FIX: x = torch.from_numpy(img.transpose(2, 0, 1).copy())
        return x, int(self.labels[i])


class LeafNet(nn.Module):
    def __init__(self, in_channels, width, n_classes):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )
        self.classifier = nn.Linear(width, n_classes)

    def forward(self, x):
        return self.classifier(self.features(x))


def build_model(dataset, args):
    channels = dataset[0][0].size(0)
    return LeafNet(channels, args.width, 3)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--size", type=int, default=24)
    ap.add_argument("--width", type=int, default=12)
    ap.add_argument("--epochs", type=int, default=3)
    args = ap.parse_args()
    torch.manual_seed(0)
    train, test = LeafDataset(96, args.size, 0), LeafDataset(48, args.size, 1)
    model = build_model(train, args)
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(args.epochs):
        model.train()
        for x, y in DataLoader(train, batch_size=16, shuffle=True):
            opt.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            opt.step()
        model.eval()
        with torch.no_grad():
            ok = sum((model(x).argmax(1) == y).sum().item() for x, y in DataLoader(test, batch_size=16))
        print(epoch, loss.item(), ok / len(test))


if __name__ == "__main__":
    main()
