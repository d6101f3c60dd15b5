import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


class CsvLikeDataset(Dataset):
    """Columns f0..f9,label as they come out of a table."""

    def __init__(self, rows=160, n_feat=10, n_cls=4, seed=0):
        g = torch.Generator().manual_seed(seed)
        w = torch.randn(n_feat, n_cls, generator=torch.Generator().manual_seed(5))
        feats = torch.randn(rows, n_feat, generator=g)
        self.table = torch.cat([feats, (feats @ w).argmax(1, keepdim=True).float()], dim=1)

    def __len__(self):
        return len(self.table)

    def __getitem__(self, i):
        row = self.table[i]
        return row[:-1], row[-1:].long()


class MLP(nn.Module):
    def __init__(self, n_feat, hidden, n_cls):
        super().__init__()
        self.fc1 = nn.Linear(n_feat, hidden)
        self.fc2 = nn.Linear(hidden, n_cls)

    def forward(self, x):
        return self.fc2(F.relu(self.fc1(x)))


class SmoothedNLL(nn.Module):
    """Cross entropy with label smoothing."""

    def __init__(self, eps):
        super().__init__()
        self.eps = eps

    def forward(self, logits, target):
        logp = F.log_softmax(logits, dim=-1)
        rows = torch.arange(logits.size(0), device=logits.device)
        nll = -logp[rows, target]  # BUG
        # FIX: nll = -logp[rows, target.view(-1)]
        smooth = -logp.mean(dim=-1)
        return ((1 - self.eps) * nll + self.eps * smooth).mean()


def run(cfg):
    torch.manual_seed(cfg.seed)
    train = DataLoader(CsvLikeDataset(seed=0), batch_size=cfg.batch_size, shuffle=True)
    test = DataLoader(CsvLikeDataset(64, seed=1), batch_size=cfg.batch_size)
    net = MLP(10, cfg.hidden, 4)
    criterion = SmoothedNLL(cfg.smoothing)
    opt = torch.optim.Adam(net.parameters(), lr=cfg.lr)
    for ep in range(cfg.epochs):
        net.train()
        for x, y in train:
            opt.zero_grad()
            loss = criterion(net(x), y)  # BUG
            loss.backward()
            opt.step()
        net.eval()
        with torch.no_grad():
            good = sum((net(x).argmax(1, keepdim=True) == y).sum().item() for x, y in test)
        print(f"{ep}: loss={loss.item():.3f} acc={good / len(test.dataset):.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--hidden", type=int, default=32)
    parser.add_argument("--smoothing", type=float, default=0.1)
    parser.add_argument("--lr", type=float, default=5e-3)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    run(parser.parse_args())
