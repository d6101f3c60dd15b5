"""Image classifier with BatchNorm; batches are formed by a batch sampler."""
import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset


class ConvNet(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16)
        self.fc = nn.Linear(16, classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return self.fc(x.mean(dim=(2, 3)))


def train_loader(ds, args):
    batches = BatchSampler(RandomSampler(ds), args.batch_size, drop_last=False)  # BUG
    # FIX: batches = BatchSampler(RandomSampler(ds), args.batch_size, drop_last=True)
    return DataLoader(ds, batch_sampler=batches)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--batch-size", type=int, default=16)
    p.add_argument("--epochs", type=int, default=3)
    p.add_argument("--lr", type=float, default=0.02)
    args = p.parse_args()
    torch.manual_seed(0)
    y = torch.randint(0, 2, (97,))
    x = torch.randn(97, 1, 12, 12)
    x[y == 1] = x[y == 1].cumsum(-1) / 2
    ds = TensorDataset(x, y)
    net = ConvNet(2)
    opt = torch.optim.SGD(net.parameters(), lr=args.lr, momentum=0.9)
    for epoch in range(args.epochs):
        net.train()
        for xb, yb in train_loader(ds, args):
            loss = F.cross_entropy(net(xb), yb)
            opt.zero_grad()
            loss.backward()
            opt.step()
        net.eval()
        with torch.no_grad():  # every sample counts here
            hits = sum((net(xb).argmax(1) == yb).sum().item() for xb, yb in DataLoader(ds, 32))
        print(f"epoch {epoch} loss {loss.item():.4f} acc {hits / len(ds):.3f}")


if __name__ == "__main__":
    main()
