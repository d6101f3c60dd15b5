import argparse
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


@dataclass
class ModelConfig:
    in_dim: int = 12
    width: int = 64
    depth: int = 12
    init_std: float = 0.01  # BUG
    # FIX: init_gain: float = 5.0 / 3.0


class DeepTanh(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        dims = [cfg.in_dim] + [cfg.width] * cfg.depth
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(dims[:-1], dims[1:]))
        self.out = nn.Linear(cfg.width, 1)
        for m in self.modules():
            self._init(m)

    def _init(self, m):
        if isinstance(m, nn.Linear):
            m.weight.data.normal_(0.0, self.cfg.init_std)  # BUG
            # FIX: nn.init.xavier_normal_(m.weight, gain=self.cfg.init_gain)
            m.bias.data.zero_()

    def forward(self, x):
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return self.out(x).squeeze(-1)


def fit(model, loader, epochs, lr):
    opt = torch.optim.Adam(model.parameters(), lr=lr)
    for epoch in range(epochs):
        model.train()
        total, n = 0.0, 0
        for x, y in loader:
            opt.zero_grad()
            loss = nn.functional.mse_loss(model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            total, n = total + loss.item() * len(y), n + len(y)
        print(f"epoch {epoch} mse {total / n:.4f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--depth", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--lr", type=float, default=1e-3)
    args = parser.parse_args()
    torch.manual_seed(0)
    x = torch.randn(256, 12)
    y = torch.sin(x[:, 0]) + 0.5 * x[:, 1]
    loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
    fit(DeepTanh(ModelConfig(depth=args.depth)), loader, args.epochs, args.lr)


if __name__ == "__main__":
    main()
