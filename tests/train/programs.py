"""Recipes for tests of the engine, and what a rank's process does with them; importable by a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from trainworthy.train.engine import train
from trainworthy.train.recipe import Loss, Mean, Phase, Recipe, TrainOptions

PAD = -100


class Words(Dataset[Any]):
    """Sequences with very uneven numbers of items that count: 1 to 32 of 32."""

    def __init__(self, size: int = 24, length: int = 32, *, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.x = torch.randn(size, length, 8, generator=generator)
        self.y = torch.randint(5, (size, length), generator=generator)
        for row, kept in enumerate(torch.randint(1, length + 1, (size,), generator=generator).tolist()):
            self.y[row, kept if row % 3 else 1 :] = PAD

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.x[index], self.y[index]


class Net(nn.Module):
    """Two blocks of an MLP and a head; with a width that two ranks can share."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.first = nn.Linear(8, width)
        self.blocks = nn.Sequential(Block(width), Block(width))
        self.head = nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.first(x)))  # type: ignore[no-any-return]


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(torch.relu(self.up(x)))  # type: ignore[no-any-return]


def count(batch: Any) -> Tensor:
    kept: Tensor = (batch[1] != PAD).sum()
    return kept


def token_loss(model: nn.Module, batch: Any) -> Loss:
    x, y = batch
    out = model(x)
    total = F.cross_entropy(out.flatten(0, 1), y.flatten(), ignore_index=PAD, reduction="sum")
    right = ((out.argmax(-1) == y) & (y != PAD)).sum()
    return Loss(total=total, weight=count(batch), metrics={"accuracy": Mean(total=right, weight=count(batch))})


def sgd(named: list[tuple[str, nn.Parameter]]) -> torch.optim.Optimizer:
    return torch.optim.SGD([each for _, each in named], lr=0.5)


def adamw(named: list[tuple[str, nn.Parameter]]) -> torch.optim.Optimizer:
    return torch.optim.AdamW([each for _, each in named], lr=1e-2)


def tensor_plan(model: nn.Module) -> dict[str, Any]:
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel

    return {
        name: style()
        for block in ("blocks.0", "blocks.1")
        for name, style in ((f"{block}.up", ColwiseParallel), (f"{block}.down", RowwiseParallel))
    }


def words_recipe(**options: Any) -> Recipe:
    """Return a recipe of uneven tokens; its weights tell whether gradients were right."""
    optimizer = options.pop("optimizer", sgd)
    return Recipe(
        model=Net,
        phases=(Phase(loss=token_loss, optimizer=optimizer, clip_norm=options.pop("clip_norm", None)),),
        train_data=Words(options.pop("size", 24)),
        validation_data=Words(options.pop("validation", 7), seed=1),
        count=count,
        blocks=lambda model: ["blocks.0", "blocks.1"],
        tensor_plan=tensor_plan,
        pipeline_split=lambda model, stages: ["blocks.1"],
        options=TrainOptions(**{"batch_size": 12, "tensorboard": False, "log_every": 1, **options}),
    )


@dataclass
class Keep:
    """A watcher that keeps the weights of the end."""

    weights: dict[str, Tensor] | None = None

    def __call__(self, model: nn.Module, optimizers: Any) -> Keep:
        self.model = model
        return self

    def __enter__(self) -> Keep:
        return self

    def __exit__(self, *_: object) -> None:
        self.weights = {name: whole(each) for name, each in self.model.state_dict().items()}


def whole(tensor: Any) -> Tensor:
    full: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return full.detach().clone()


def trained(recipe: Recipe, folder: Path) -> tuple[dict[str, Tensor], Any]:
    """Train, and return the weights and the outcome."""
    keep = Keep()
    outcome = train(recipe, folder=folder, watchers=(keep,), quiet=True)
    assert keep.weights is not None
    return keep.weights, outcome


def on_ranks(cases: Mapping[str, Callable[[], Recipe]], folder: Path) -> dict[str, Any]:
    """Train each case on the ranks of this process's group; return weights and metrics by case."""
    from trainworthy.train.launch import joined

    results = {}
    with joined():
        for name, make in cases.items():
            weights, outcome = trained(make(), folder / name)
            results[name] = (weights, dict(outcome.metrics), outcome.step)
    return results
