import argparse
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset


class SpectraDataset(Dataset):
    """Raw detector counts, class = position of the peak."""

    def __init__(self, n, n_cls, seed):
        g = torch.Generator().manual_seed(seed)
        self.y = torch.randint(n_cls, (n,), generator=g)
        grid = torch.arange(40).float()
        peak = torch.exp(-0.5 * ((grid - 4 - 6 * self.y[:, None]) / 2) ** 2)
        self.x = torch.poisson(200 * peak + 5, generator=g)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


class SoftmaxClassifier(nn.Module):
    def __init__(self, d_in, n_cls, scale):
        super().__init__()
        self.fc = nn.Linear(d_in, n_cls)
        self.scale = scale

    def scores(self, x):
        return self.scale * self.fc(x)

    def forward(self, x):
        z = self.scores(x)
        e = z.exp()  # BUG
        # FIX: return z.log_softmax(dim=1)
        return (e / e.sum(dim=1, keepdim=True)).log()  # BUG
        # FIX:


class Experiment:
    def __init__(self, args):
        self.args = args
        self.net = SoftmaxClassifier(40, args.classes, args.scale)
        self.criterion = nn.NLLLoss()
        self.opt = torch.optim.SGD(self.net.parameters(), lr=args.lr)

    def train(self, loader):
        for ep in range(self.args.epochs):
            self.net.train()
            for x, y in loader:
                loss = self.criterion(self.net(x), y)
                self.opt.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
                self.opt.step()
            print(f"epoch {ep} loss {loss.item():.3f}")

    @torch.no_grad()
    def accuracy(self, data):
        self.net.eval()
        return (self.net.scores(data.x).argmax(1) == data.y).float().mean().item()


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--classes", type=int, default=6)
    ap.add_argument("--scale", type=float, default=1.0)
    ap.add_argument("--lr", type=float, default=0.02)
    ap.add_argument("--epochs", type=int, default=4)
    args = ap.parse_args()
    torch.manual_seed(0)
    exp = Experiment(args)
    exp.train(DataLoader(SpectraDataset(128, args.classes, 0), 16, shuffle=True))
    print("acc", exp.accuracy(SpectraDataset(64, args.classes, 1)))
