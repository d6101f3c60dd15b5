import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


class AverageMeter:
    def __init__(self):
        self.sum, self.count = 0.0, 0

    def update(self, val, n=1):
        self.sum += val * n
        self.count += n

    @property
    def avg(self):
        return self.sum / max(self.count, 1)


class RainDataset(Dataset):
    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        self.x = torch.randn(n, 6, generator=g)
        self.y = (self.x[:, 0] * self.x[:, 1] + 0.1 * torch.randn(n, generator=g)).unsqueeze(1)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


class Regressor(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, hidden), nn.GELU(), nn.Linear(hidden, 1))

    def forward(self, x):
        return self.layers(x)


@torch.no_grad()
def validate(model, loader):
    model.eval()
    mse, mae = AverageMeter(), AverageMeter()
    for x, y in loader:
        pred = model(x)
        mse.update(F.mse_loss(pred, y).item())  # BUG
        # FIX: mse.update(F.mse_loss(pred, y).item(), n=len(y))
        mae.update(F.l1_loss(pred, y).item())  # BUG
        # FIX: mae.update(F.l1_loss(pred, y).item(), n=len(y))
    return mse.avg, mae.avg


def train_one_epoch(model, loader, optimizer):
    model.train()
    meter = AverageMeter()
    for x, y in loader:
        loss = F.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        meter.update(loss.item(), x.size(0))
    return meter.avg


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--hidden", type=int, default=32)
    ap.add_argument("--lr", type=float, default=1e-2)
    ap.add_argument("--batch-size", type=int, default=32)
    ap.add_argument("--epochs", type=int, default=4)
    args = ap.parse_args()
    torch.manual_seed(0)
    model = Regressor(args.hidden)
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    train = DataLoader(RainDataset(200, 0), args.batch_size, shuffle=True)
    val = DataLoader(RainDataset(67, 1), args.batch_size)
    for epoch in range(args.epochs):
        tr = train_one_epoch(model, train, optimizer)
        mse, mae = validate(model, val)
        print(f"epoch {epoch} train {tr:.4f} val mse {mse:.4f} mae {mae:.4f}")


if __name__ == "__main__":
    main()
