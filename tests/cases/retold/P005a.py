"""Count regression (bike rentals per hour) with a Poisson head."""
import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class RentalDataset(Dataset):
    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        self.weather = torch.randn(n, 5, generator=g)
        self.hour = torch.randint(0, 24, (n,), generator=g)
        rate = torch.exp(0.5 * self.weather[:, 0] + torch.sin(self.hour / 24 * 6.283))
        self.count = torch.poisson(rate, generator=g)

    def __len__(self):
        return len(self.count)

    def __getitem__(self, i):
        return {"weather": self.weather[i], "hour": self.hour[i], "count": self.count[i]}


class PoissonRegressor(nn.Module):
    def __init__(self, hidden=16):
        super().__init__()
        self.hour_emb = nn.Embedding(24, 4)
        self.mlp = nn.Sequential(nn.Linear(9, hidden), nn.Tanh(), nn.Linear(hidden, 1))

    def forward(self, weather, hour):
        return self.mlp(torch.cat([weather, self.hour_emb(hour)], dim=-1))  # log rate


class Experiment:
    def __init__(self, args):
        self.model = PoissonRegressor(args.hidden)
        self.loss_fn = nn.PoissonNLLLoss(log_input=True, full=False)
        self.optim = torch.optim.Adam(self.model.parameters(), lr=args.lr)
        self.epochs = args.epochs

    def step(self, batch):
        log_rate = self.model(batch["weather"], batch["hour"])
        target = batch["count"]
        return self.loss_fn(log_rate, target)  # BUG
        # FIX: return self.loss_fn(log_rate, target.unsqueeze(-1))

    def fit(self, loader):
        for epoch in range(self.epochs):
            self.model.train()
            losses = []
            for batch in loader:
                self.optim.zero_grad()
                loss = self.step(batch)
                loss.backward()
                self.optim.step()
                losses.append(loss.item())
            print(f"epoch {epoch}: nll {sum(losses) / len(losses):.4f}")

    @torch.no_grad()
    def mae(self, loader):
        self.model.eval()
        diff = [
            (self.model(b["weather"], b["hour"]).exp().squeeze(-1) - b["count"]).abs() for b in loader
        ]
        return torch.cat(diff).mean().item()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--hidden", type=int, default=16)
    ap.add_argument("--lr", type=float, default=1e-2)
    ap.add_argument("--epochs", type=int, default=4)
    args = ap.parse_args()
    torch.manual_seed(0)
    exp = Experiment(args)
    exp.fit(DataLoader(RentalDataset(256, 0), batch_size=32, shuffle=True))
    print("test MAE", exp.mae(DataLoader(RentalDataset(64, 1), batch_size=32)))


if __name__ == "__main__":
    main()
