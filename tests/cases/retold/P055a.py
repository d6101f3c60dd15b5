import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


class Backbone(nn.Module):
    def __init__(self, n_classes=100):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(),
                                      nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU())
        self.fc = nn.Linear(16, n_classes)

    def forward(self, x):
        return self.fc(self.features(x).mean((2, 3)))


class FineTuner:
    def __init__(self, args):
        self.args = args
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = Backbone().to(self.device)
        self.build_optimizer()  # BUG
        # FIX:
        self.adapt_head(args.num_classes)
        # FIX+: self.build_optimizer()

    def build_optimizer(self):
        self.opt = torch.optim.AdamW(self.model.parameters(), lr=self.args.lr, weight_decay=1e-4)
        self.sched = torch.optim.lr_scheduler.CosineAnnealingLR(self.opt, self.args.epochs)

    def adapt_head(self, n):
        width = self.model.fc.in_features
        self.model.fc = nn.Linear(width, n).to(self.device)  # BUG

    def train(self, loader):
        for epoch in range(self.args.epochs):
            self.model.train()
            total = 0.0
            for x, y in loader:
                x, y = x.to(self.device), y.to(self.device)
                self.opt.zero_grad()
                loss = F.cross_entropy(self.model(x), y)
                loss.backward()
                self.opt.step()
                total += loss.item() * len(y)
            self.sched.step()
            print(f"epoch {epoch} loss {total / len(loader.dataset):.3f}")

    @torch.no_grad()
    def accuracy(self, x, y):
        self.model.eval()
        return (self.model(x.to(self.device)).argmax(1).cpu() == y).float().mean().item()


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--num_classes", type=int, default=3)
    ap.add_argument("--lr", type=float, default=3e-3)
    ap.add_argument("--epochs", type=int, default=4)
    args = ap.parse_args()
    torch.manual_seed(0)
    y = torch.randint(args.num_classes, (160,))
    x = 0.4 * torch.randn(160, 3, 16, 16)
    x[torch.arange(160), y] += 1.0
    ft = FineTuner(args)
    ft.train(DataLoader(TensorDataset(x[:128], y[:128]), 16, shuffle=True))
    print("acc", ft.accuracy(x[128:], y[128:]))
