import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, random_split


class Ratings(Dataset):
    def __init__(self, n=600, users=40, items=30):
        g = torch.Generator().manual_seed(0)
        self.u = torch.randint(0, users, (n,), generator=g)
        self.i = torch.randint(0, items, (n,), generator=g)
        pu, qi = torch.randn(users, 3, generator=g), torch.randn(items, 3, generator=g)
        self.r = (pu[self.u] * qi[self.i]).sum(1)

    def __len__(self):
        return len(self.r)

    def __getitem__(self, k):
        return self.u[k], self.i[k], self.r[k]


class NeuralCF(nn.Module):
    def __init__(self, users=40, items=30, dim=8):
        super().__init__()
        self.user, self.item = nn.Embedding(users, dim), nn.Embedding(items, dim)
        self.mlp = nn.Sequential(nn.Linear(2 * dim, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 1))

    def forward(self, u, i):
        return self.mlp(torch.cat([self.user(u), self.item(i)], dim=-1)).squeeze(-1)


class Trainer:
    def __init__(self, args):
        self.args = args
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        train, val = random_split(Ratings(), [500, 100])
        self.train_loader = DataLoader(train, batch_size=50, shuffle=True)
        self.val_loader = DataLoader(val, batch_size=50)
        self.model = NeuralCF().to(self.device)
        self.opt = torch.optim.Adam(self.model.parameters(), lr=args.lr)

    def _loss(self, batch, reduction="mean"):
        u, i, r = (t.to(self.device) for t in batch)
        return nn.functional.mse_loss(self.model(u, i), r, reduction=reduction)

    def train_epoch(self):
        self.model.train()
        for batch in self.train_loader:
            self.opt.zero_grad()
            self._loss(batch).backward()
            self.opt.step()

    # FIX+: @torch.no_grad()
    def validate(self):  # BUG
        self.model.eval()
        squared = 0.0
        for batch in self.val_loader:
            squared += self._loss(batch, reduction="sum").item()  # BUG
        return (squared / len(self.val_loader.dataset)) ** 0.5

    def fit(self):
        best = float("inf")
        for epoch in range(self.args.epochs):
            self.train_epoch()
            rmse = self.validate()
            best = min(best, rmse)
            print(f"epoch {epoch} val rmse {rmse:.4f} (best {best:.4f})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=1e-2)
    parser.add_argument("--epochs", type=int, default=3)
    args = parser.parse_args()
    torch.manual_seed(0)
    Trainer(args).fit()
