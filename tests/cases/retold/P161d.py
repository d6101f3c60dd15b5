"""Skeleton-based gesture recognition; the result table reports `--seed`."""
import argparse
import random

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


def seed_everything(seed):
    np.random.seed(seed)  # BUG
    torch.manual_seed(seed)  # BUG
    torch.cuda.manual_seed_all(seed)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    # FIX+: random.seed(seed)


def mirror(pose):
    pose = pose.copy()
    pose[..., 0] *= -1
    return pose


def jitter(pose):
    return pose + random.gauss(0, 0.03)


def drop_joint(pose):
    pose = pose.copy()
    pose[:, random.randrange(pose.shape[1])] = 0
    return pose


class Gestures(Dataset):
    AUGMENTATIONS = (mirror, jitter, drop_joint)

    def __init__(self, n, train):
        rng = np.random.default_rng(77 + train)
        self.y = rng.integers(0, 5, n)
        t = np.linspace(0, 2 * np.pi, 20)[None, :, None]
        speed = (1 + self.y)[:, None, None]
        phase = rng.uniform(0, 6.28, (n, 1, 9))
        wave = np.sin(speed * t + phase)
        self.x = np.stack([wave, np.cos(speed * t + phase)], -1) + rng.normal(0, 0.2, (n, 20, 9, 2))
        self.train = train

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        pose = self.x[i]
        if self.train and random.random() < 0.7:  # BUG
            for fn in random.sample(self.AUGMENTATIONS, k=2):
                pose = fn(pose)
        return torch.from_numpy(pose.reshape(20, -1).astype(np.float32)), int(self.y[i])


class GestureNet(nn.Module):
    def __init__(self, cin=18, hidden=32):
        super().__init__()
        self.rnn = nn.LSTM(cin, hidden, batch_first=True)
        self.fc = nn.Linear(hidden, 5)

    def forward(self, x):
        _, (h, _) = self.rnn(x)
        return self.fc(h[-1])


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--seed", type=int, default=2024)
    args = ap.parse_args()
    seed_everything(args.seed)
    order = torch.Generator().manual_seed(args.seed)
    train = DataLoader(Gestures(320, True), 32, shuffle=True, generator=order)
    test = DataLoader(Gestures(80, False), 80)
    net = GestureNet()
    opt = torch.optim.Adam(net.parameters(), 1e-2)
    for epoch in range(4):
        net.train()
        for x, y in train:
            opt.zero_grad()
            loss = nn.functional.cross_entropy(net(x), y)
            loss.backward()
            opt.step()
    net.eval()
    with torch.no_grad():
        acc = np.mean([(net(x).argmax(1) == y).float().mean().item() for x, y in test])
    print(f"seed {args.seed}: loss {loss.item():.6f} test accuracy {acc:.4f}")


if __name__ == "__main__":
    main()
