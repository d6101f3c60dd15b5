"""Tabular encoders with a common base class."""
import torch
from torch import Tensor, nn


class TabularBase(nn.Module):
    prep_steps: tuple[str, ...] = ()
    input_dropout: float = 0.0

    def __init__(self, n_features: int, input_dropout: float = 0.1) -> None:
        super().__init__()
        self.standardise = nn.BatchNorm1d(n_features, affine=False)
        self.prep_steps = ("standardise",)
        self.input_dropout = input_dropout

    def prepare(self, x: Tensor) -> Tensor:
        for name in self.prep_steps:
            x = getattr(self, name)(x)
        return nn.functional.dropout(x, self.input_dropout, self.training)


class Linear(TabularBase):
    def __init__(self, n_features: int) -> None:
        super().__init__(n_features, input_dropout=0.0)
        self.out = nn.Linear(n_features, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.prepare(x)).squeeze(-1)


class ResMLP(TabularBase):
    def __init__(self, n_features: int, width: int = 48, depth: int = 2) -> None:
        super(TabularBase, self).__init__()  # BUG
        # FIX: super().__init__(n_features)
        self.inp = nn.Linear(n_features, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
            for _ in range(depth)
        )
        self.out = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.inp(self.prepare(x))
        for block in self.blocks:
            h = h + block(h)
        return self.out(h).squeeze(-1)


def housing(n: int, gen: torch.Generator) -> tuple[Tensor, Tensor]:
    area = torch.empty(n).uniform_(30, 200, generator=gen)
    rooms = (area / 30 + torch.randn(n, generator=gen)).round().clamp(1, 8)
    year = torch.randint(1900, 2020, (n,), generator=gen).float()
    dist = torch.empty(n).exponential_(0.2, generator=gen)
    price = 0.02 * area + 0.1 * rooms + 0.01 * (year - 1960) - 0.15 * dist
    return torch.stack([area, rooms, year, dist], 1), price + 0.1 * torch.randn(n, generator=gen)


def fit(model: nn.Module, x: Tensor, y: Tensor, steps: int = 60) -> float:
    opt = torch.optim.Adam(model.parameters(), lr=5e-3)
    model.train()
    for _ in range(steps):
        idx = torch.randint(len(x), (64,))
        loss = nn.functional.huber_loss(model(x[idx]), y[idx])
        opt.zero_grad()
        loss.backward()
        opt.step()
    return loss.item()


def main() -> None:
    torch.manual_seed(0)
    gen = torch.Generator().manual_seed(0)
    x, y = housing(1000, gen)
    y = (y - y[:800].mean()) / y[:800].std()
    for cls in (Linear, ResMLP):
        model = cls(x.shape[1])
        last = fit(model, x[:800], y[:800])
        model.eval()
        with torch.no_grad():
            err = (model(x[800:]) - y[800:]).abs().mean().item()
        print(f"{cls.__name__:8s} train {last:.3f} test MAE {err:.3f}")


if __name__ == "__main__":
    main()
