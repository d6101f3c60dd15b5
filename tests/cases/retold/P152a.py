import argparse
from functools import partial

import torch
from torch import nn
from torch.utils import checkpoint as cp
from torch.utils.data import DataLoader, TensorDataset


class DenseLayer(nn.Module):
    def __init__(self, c_in, growth, memory_efficient):
        super().__init__()
        self.norm = nn.GroupNorm(1, c_in)
        self.conv = nn.Conv1d(c_in, growth, 3, padding=1)
        self.memory_efficient = memory_efficient

    def _inner(self, *feats):
        return self.conv(torch.relu(self.norm(torch.cat(feats, dim=1))))

    def forward(self, feats):
        if self.memory_efficient and any(f.requires_grad for f in feats):
            return cp.checkpoint(self._inner, *feats)  # BUG
            # FIX: return cp.checkpoint(self._inner, *feats, use_reentrant=False)
        return self._inner(*feats)


class DenseNet1d(nn.Module):
    def __init__(self, growth=8, depth=4, n_classes=3, memory_efficient=True):
        super().__init__()
        self.stem = nn.Conv1d(1, growth, 5, padding=2)
        layer = partial(DenseLayer, growth=growth, memory_efficient=memory_efficient)
        self.layers = nn.ModuleList(layer(growth * (i + 1)) for i in range(depth))
        self.head = nn.Linear(growth * (depth + 1), n_classes)

    def forward(self, ecg):
        feats = [self.stem(ecg)]
        for layer in self.layers:
            feats.append(layer(feats))
        return self.head(torch.cat(feats, dim=1).mean(-1))


class Trainer:
    def __init__(self, args):
        self.args = args
        y = torch.randint(0, 3, (96,))
        t = torch.linspace(0, 6.28, 48)
        x = torch.sin(t * (1 + y[:, None])).unsqueeze(1) + 0.3 * torch.randn(96, 1, 48)
        self.loader = DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True)
        self.model = DenseNet1d(memory_efficient=args.memory_efficient)
        self.opt = torch.optim.Adam(self.model.parameters(), lr=args.lr)

    def fit(self):
        for epoch in range(self.args.epochs):
            self.model.train()
            for x, y in self.loader:
                self.opt.zero_grad()
                loss = nn.functional.cross_entropy(self.model(x), y)
                loss.backward()
                self.opt.step()
            print(f"epoch {epoch} loss {loss.item():.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--memory-efficient", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--lr", type=float, default=5e-3)
    parser.add_argument("--epochs", type=int, default=3)
    args = parser.parse_args()
    torch.manual_seed(0)
    Trainer(args).fit()
