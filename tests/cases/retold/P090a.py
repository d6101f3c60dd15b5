"""Folder-like dataset (class after class) with BatchNorm classifier."""
import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset, RandomSampler, SequentialSampler


class FolderLike(Dataset):
    """Samples in the order in which a directory walk gives them: all of class 0, all of class 1, ..."""

    def __init__(self, per_class, classes, seed):
        g = torch.Generator().manual_seed(seed)
        self.samples = []
        for c in range(classes):
            for k in range(per_class):
                img = 0.5 * torch.randn(3, 12, 12, generator=g)
                img[c % 3, c * 2:c * 2 + 4] += 1.0
                self.samples.append((img, c))

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, i):
        return self.samples[i]


def make_loader(ds, args, training):
    if training:
        sampler = SequentialSampler(ds)  # BUG
        # FIX: sampler = RandomSampler(ds)
    else:
        sampler = SequentialSampler(ds)
    return DataLoader(ds, batch_size=args.batch_size, sampler=sampler)


class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
                                  nn.AdaptiveAvgPool2d(3), nn.Flatten())
        self.fc = nn.Linear(16 * 9, classes)

    def forward(self, x):
        return self.fc(self.body(x))


def evaluate(net, loader):
    net.eval()
    with torch.no_grad():
        hits = [(net(x).argmax(1) == y) for x, y in loader]
    return torch.cat(hits).float().mean().item()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--batch-size", type=int, default=16)
    p.add_argument("--epochs", type=int, default=4)
    p.add_argument("--lr", type=float, default=0.05)
    args = p.parse_args()
    torch.manual_seed(0)
    train = make_loader(FolderLike(32, 4, seed=1), args, training=True)
    val = make_loader(FolderLike(8, 4, seed=2), args, training=False)
    net = Net(4)
    opt = torch.optim.SGD(net.parameters(), lr=args.lr, momentum=0.9)
    for epoch in range(args.epochs):
        net.train()
        for x, y in train:
            loss = F.cross_entropy(net(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
        print(f"epoch {epoch} loss {loss.item():.4f} val acc {evaluate(net, val):.3f}")


if __name__ == "__main__":
    main()
