"""Bike-rental counts per hour: a small Poisson regression."""
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

CONFIG = {
    "loss": "poisson",
    "lr": 1e-2,
    "batch_size": 32,
    "epochs": 3,
    "n_features": 6,
}

LOSSES = {
    "poisson": nn.PoissonNLLLoss(log_input=True),
    "mse": nn.MSELoss(),
}


def make_data(n, d):
    x = torch.randn(n, d)
    w = torch.linspace(-0.5, 0.5, d)
    rate = torch.exp(x @ w + 0.7)
    return x, torch.poisson(rate)


def standardize(x):
    return (x - x.mean(0)) / x.std(0)          # (n, d) - (d,)


class RateNet(nn.Module):
    def __init__(self, n_features, hidden=32):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(n_features, hidden), nn.ReLU())
        self.log_rate = nn.Linear(hidden, 1)

    def forward(self, x):
        return self.log_rate(self.body(x))


def fit(cfg):
    torch.manual_seed(0)
    x, counts = make_data(512, cfg["n_features"])
    data = TensorDataset(standardize(x), counts)
    loader = DataLoader(data, batch_size=cfg["batch_size"], shuffle=True)
    net = RateNet(cfg["n_features"])
    criterion = LOSSES[cfg["loss"]]
    opt = torch.optim.Adam(net.parameters(), lr=cfg["lr"])
    for epoch in range(cfg["epochs"]):
        net.train()
        running, seen = 0.0, 0
        for feats, n_rentals in loader:
            opt.zero_grad()
            loss = criterion(net(feats), n_rentals)  # BUG
            # FIX: loss = criterion(net(feats).squeeze(-1), n_rentals)
            loss.backward()
            opt.step()
            running += loss.item() * len(feats)
            seen += len(feats)
        print(f"epoch {epoch}: nll {running / seen:.4f}")
    return net


if __name__ == "__main__":
    fit(CONFIG)
