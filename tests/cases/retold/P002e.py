"""House-price quantiles from a table with a few numeric columns and one categorical column."""
import functools

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class HousingTable(Dataset):
    def __init__(self, n=320, seed=0):
        rng = np.random.default_rng(seed)
        self.numeric = rng.normal(size=(n, 6)).astype(np.float32)
        self.zone = rng.integers(0, 5, size=n)
        price = self.numeric[:, 0] * 0.8 - self.numeric[:, 2] * 0.5 + 0.3 * self.zone
        self.price = (price + 0.1 * rng.normal(size=n)).astype(np.float32)

    def __len__(self):
        return len(self.price)

    def __getitem__(self, i):
        return self.numeric[i], int(self.zone[i]), self.price[i]


class PriceNet(nn.Module):
    def __init__(self, n_numeric=6, n_zones=5, width=32):
        super().__init__()
        self.zone_emb = nn.Embedding(n_zones, 4)
        self.body = nn.Sequential(nn.Linear(n_numeric + 4, width), nn.SiLU(), nn.Linear(width, 1))

    def forward(self, numeric, zone):
        return self.body(torch.cat([numeric, self.zone_emb(zone)], dim=-1))


def pinball(estimate, observed, q):
    under = torch.sub(observed, estimate)
    return torch.maximum(q * under, (q - 1.0) * under).mean()


def fit(net, loader, objective, epochs=5):
    opt = torch.optim.AdamW(net.parameters(), lr=5e-3, weight_decay=1e-4)
    for epoch in range(epochs):
        net.train()
        seen, running = 0, 0.0
        for numeric, zone, price in loader:
            opt.zero_grad(set_to_none=True)
            loss = objective(net(numeric, zone), price)  # BUG
            # FIX: loss = objective(net(numeric, zone).squeeze(-1), price)
            loss.backward()
            opt.step()
            running += loss.item() * len(price)
            seen += len(price)
        print(f"epoch {epoch}: pinball {running / seen:.4f}")


@torch.no_grad()
def coverage(net, table):
    net.eval()
    numeric, zone = torch.from_numpy(table.numeric), torch.from_numpy(table.zone)
    # one row of thresholds against one column of predictions: (N, 3)
    shifted = net(numeric, zone) + torch.tensor([-0.5, 0.0, 0.5])
    return (torch.from_numpy(table.price)[:, None] <= shifted).float().mean(0)


if __name__ == "__main__":
    torch.manual_seed(0)
    train, val = HousingTable(320, seed=0), HousingTable(120, seed=1)
    net = PriceNet()
    fit(net, DataLoader(train, batch_size=32, shuffle=True), functools.partial(pinball, q=0.8))
    print("coverage at -0.5/0/+0.5:", coverage(net, val).tolist())
