import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler


class ClipDataset(Dataset):
    """Short audio clips; some were rejected by the annotators and carry quality 0."""

    def __init__(self, n=240, length=64, n_classes=3):
        self.labels = torch.randint(0, n_classes, (n,))
        phase = torch.arange(length) / length * 6.2832
        freq = 1.0 + self.labels.float()
        self.clips = torch.sin(freq[:, None] * phase) + 0.3 * torch.randn(n, length)
        self.quality = torch.rand(n) * 0.8 + 0.2
        rejected = torch.rand(n) < 0.25
        self.quality[rejected] = 0.0
        self.labels[rejected] = torch.randint(0, n_classes, (int(rejected.sum()),))

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return self.clips[i], self.labels[i], self.quality[i]


class ClipNet(nn.Module):
    def __init__(self, n_classes=3, width=16):
        super().__init__()
        self.conv = nn.Conv1d(1, width, 9, stride=2, padding=4)
        self.bn = nn.BatchNorm1d(width)
        self.fc = nn.Linear(width, n_classes)

    def forward(self, wav):
        h = torch.relu(self.bn(self.conv(wav.unsqueeze(1))))
        return self.fc(h.amax(dim=-1))


def build_loader(dataset, cfg):
    weights = dataset.quality
    per_epoch = len(dataset)  # BUG
    # FIX: per_epoch = int((weights > 0).sum())
    sampler = WeightedRandomSampler(weights.tolist(), per_epoch, replacement=False)  # BUG
    return DataLoader(dataset, batch_size=cfg.batch_size, sampler=sampler)


def train_epoch(model, loader, optimizer):
    model.train()
    rejected, total, running = 0, 0, 0.0
    for wav, label, quality in loader:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(wav), label)
        loss.backward()
        optimizer.step()
        running += loss.item() * len(label)
        total += len(label)
        rejected += int((quality == 0).sum())
    return running / total, rejected, total


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch-size", dest="batch_size", type=int, default=30)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--lr", type=float, default=5e-3)
    cfg = parser.parse_args()
    torch.manual_seed(1)
    dataset = ClipDataset()
    loader = build_loader(dataset, cfg)
    model = ClipNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=cfg.lr)
    for epoch in range(cfg.epochs):
        loss, rejected, total = train_epoch(model, loader, optimizer)
        print(f"epoch {epoch} loss {loss:.4f} clips {total} (rejected: {rejected})")


if __name__ == "__main__":
    main()
