"""Deep coordinate regressor: f(x, y, t) -> field value."""
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import init


@dataclass
class FieldConfig:
    in_dim: int = 3
    width: int = 64
    depth: int = 14
    lr: float = 1e-3
    steps: int = 90
    batch: int = 128
    init_std: float = 0.01  # BUG
    # FIX: nonlinearity: str = "relu"


class DeepField(nn.Module):
    def __init__(self, config: FieldConfig):
        super().__init__()
        self.config = config
        dims = [config.in_dim] + [config.width] * config.depth
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in zip(dims[:-1], dims[1:]))
        self.readout = nn.Linear(config.width, 1)
        self.apply(self._init_weights)

    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            init.normal_(module.weight, mean=0.0, std=self.config.init_std)  # BUG
            # FIX: init.kaiming_normal_(module.weight, nonlinearity=self.config.nonlinearity)
            init.zeros_(module.bias)

    def forward(self, coords):
        h = coords
        for layer in self.hidden:
            h = torch.relu(layer(h))
        return self.readout(h).squeeze(-1)


def field(coords):
    x, y, t = coords.unbind(-1)
    return torch.sin(2.0 * x) * torch.cos(y) + 0.5 * x * t


def sample(n, generator):
    coords = torch.rand(n, 3, generator=generator) * 2.0 - 1.0
    return coords, field(coords)


def fit(config):
    gen = torch.Generator().manual_seed(99)
    coords_val, value_val = sample(512, gen)
    model = DeepField(config)
    opt = torch.optim.Adam(model.parameters(), lr=config.lr)
    for step in range(config.steps):
        model.train()
        coords, value = sample(config.batch, gen)
        loss = nn.functional.mse_loss(model(coords), value)
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), max_norm=5.0)
        opt.step()
        if (step + 1) % 30 == 0:
            model.eval()
            with torch.no_grad():
                rmse = nn.functional.mse_loss(model(coords_val), value_val).sqrt()
            print(f"step {step + 1:4d}  train mse {loss.item():.4f}  val rmse {rmse:.4f}")
    return model


if __name__ == "__main__":
    torch.manual_seed(42)
    fit(FieldConfig())
