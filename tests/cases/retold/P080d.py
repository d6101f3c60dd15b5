"""Random network distillation bonus: a fixed, Lipschitz-bounded target and a trained predictor."""
from typing import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, spectral_norm


def mlp(sizes: list[int], wrap: Callable[[nn.Module], nn.Module] = lambda m: m) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in zip(sizes[:-1], sizes[1:]):
        layers += [wrap(nn.Linear(a, b)), nn.ELU()]
    return nn.Sequential(*layers[:-1])


class NoveltyBonus(nn.Module):
    def __init__(self, obs_dim: int, feat_dim: int = 16, lipschitz: bool = True) -> None:
        super().__init__()
        bound = spectral_norm if lipschitz else nn.Identity()  # BUG
        # FIX: bound = parametrizations.spectral_norm if lipschitz else nn.Identity()
        self.target = mlp([obs_dim, 64, feat_dim], bound)
        self.predictor = mlp([obs_dim, 64, 64, feat_dim])
        self.target.requires_grad_(False)
        self.target.eval()  # BUG

    def train(self, mode: bool = True) -> "NoveltyBonus":
        super().train(mode)
        self.target.eval()  # the target never changes
        return self

    def forward(self, obs: Tensor) -> Tensor:
        with torch.no_grad():
            goal = self.target(obs)
        return (self.predictor(obs) - goal).square().mean(dim=-1)


@torch.no_grad()
def lipschitz_bound(net: nn.Sequential) -> float:
    bound = 1.0
    for layer in net:
        if isinstance(layer, nn.Linear):
            bound *= torch.linalg.matrix_norm(layer.weight, 2).item()
    return bound


def main() -> None:
    torch.manual_seed(4)
    visited = torch.randn(1024, 10) * 0.5
    far = torch.randn(128, 10) + 3.0
    bonus = NoveltyBonus(10)
    with torch.no_grad():
        bonus.target(visited[:64])
    print(f"target Lipschitz bound {lipschitz_bound(bonus.target):.3f}")
    opt = torch.optim.Adam(bonus.predictor.parameters(), lr=1e-3)
    bonus.train()
    for step in range(60):
        batch = visited[torch.randint(len(visited), (64,))]
        loss = bonus(batch).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
    bonus.eval()
    with torch.no_grad():
        print(f"bonus: visited {bonus(visited).mean():.4f}, far {bonus(far).mean():.4f}")


if __name__ == "__main__":
    main()
