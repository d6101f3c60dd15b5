"""Keyword spotting with noise augmentation in worker processes."""
import random

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class NoiseAndShift:
    def __init__(self, max_shift=40, snr=(0.05, 0.4), seed=1234):
        self.max_shift, self.snr = max_shift, snr
        self.rand = random.Random(seed)  # BUG
        # FIX: self.seed, self.rand = seed, None

    def __call__(self, wav):
        # FIX+: if self.rand is None:
        # FIX+:     self.rand = random.Random(self.seed + torch.initial_seed())
        k = self.rand.randint(-self.max_shift, self.max_shift)
        level = self.rand.uniform(*self.snr)
        gen = torch.Generator().manual_seed(self.rand.getrandbits(31))
        return wav.roll(k) + level * torch.randn(wav.shape, generator=gen)


class Keywords(Dataset):
    def __init__(self, n, augment=None):
        g = torch.Generator().manual_seed(n)
        t = torch.arange(800) / 8000
        self.labels = torch.randint(5, (n,), generator=g)
        freq = 300 + 250 * self.labels[:, None] + 40 * torch.rand(n, 1, generator=g)
        self.waves = torch.sin(6.2832 * freq * t)
        self.augment = augment

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        wav = self.waves[i]
        if self.augment is not None:
            wav = self.augment(wav)
        return wav[None], self.labels[i]


class M3(nn.Module):
    def __init__(self, n_classes=5, width=16):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv1d(1, width, 40, stride=8), nn.BatchNorm1d(width), nn.ReLU(),
            nn.Conv1d(width, width, 5, stride=2), nn.BatchNorm1d(width), nn.ReLU(),
        )
        self.fc = nn.Linear(width, n_classes)

    def forward(self, x):
        return self.fc(self.net(x).amax(-1))


def main():
    torch.manual_seed(0)
    train = DataLoader(Keywords(256, NoiseAndShift()), batch_size=32, shuffle=True, num_workers=2)
    val = DataLoader(Keywords(64), batch_size=64)
    model = M3()
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(3):
        model.train()
        for x, y in train:
            opt.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            opt.step()
        model.eval()
        with torch.no_grad():
            acc = sum((model(x).argmax(1) == y).float().mean().item() for x, y in val) / len(val)
        print(f"epoch {epoch} loss {loss.item():.3f} val {acc:.3f}")


if __name__ == "__main__":
    main()
