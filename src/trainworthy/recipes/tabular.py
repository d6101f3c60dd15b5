"""Tabular regression: progression of diabetes, beside least squares on the same split.

It teaches to standardise by the training part only and inside the model, to predict the standardised value, to keep
an average of the weights, and to state R2 beside that of least squares on the same split.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from trainworthy.parts.models.mlp import TabularMLP
from trainworthy.parts.sources.shipped import diabetes_table
from trainworthy.train import Loss, Mean, Phase, Quality, Recipe, TrainOptions
from trainworthy.train.optimizers import adamw
from trainworthy.train.schedules import cosine


def recipe(
    *, hidden: tuple[int, ...] = (16,), dropout: float = 0.1, lr: float = 3e-3, weight_decay: float = 1.0
) -> Recipe:
    """Describe the run.

    Args:
        hidden: Widths of the hidden layers.
        dropout: Share dropped after each.
        lr: Highest learning rate.
        weight_decay: Of the matrices.
    """
    training, validation = diabetes_table("train"), diabetes_table("validation")
    numbers, values = training.tensors
    mean, std = float(values.mean()), float(values.std())

    def loss(net: nn.Module, batch: tuple[Tensor, Tensor]) -> Loss:
        error = net(batch[0]).squeeze(1) - (batch[1] - mean) / std
        count = len(error)
        return Loss(
            total=error.square().sum(), weight=count,
            metrics={"absolute_error": Mean(total=error.detach().abs().sum() * std, weight=count)},
        )  # fmt: skip

    def finish(net: nn.Module) -> Mapping[str, float]:
        device = next(net.parameters()).device
        inputs, wanted = validation.tensors
        found = net(inputs.to(device)).squeeze(1).cpu() * std + mean
        return {"r2": r2(found, wanted), "r2_least_squares": r2(least_squares(numbers, values, inputs), wanted)}

    return Recipe(
        model=lambda: TabularMLP(
            numeric=numbers.shape[1], hidden=hidden, dropout=dropout, mean=numbers.mean(0), std=numbers.std(0)
        ),
        phases=(Phase(loss=loss, optimizer=adamw(lr, weight_decay=weight_decay), schedule=cosine(), clip_norm=1.0),),
        train_data=training, validation_data=validation, finish=finish,
        options=TrainOptions(epochs=40, batch_size=32, ema_decay=0.98, evaluate_every=24, checkpoint_every=240),
        quality=Quality(metric="r2", at_least=0.43),
    )  # fmt: skip


def least_squares(numbers: Tensor, values: Tensor, inputs: Tensor) -> Tensor:
    """Return the predictions of ordinary least squares with an intercept, in double precision."""

    def with_one(table: Tensor) -> Tensor:
        return torch.cat([table, torch.ones(len(table), 1)], dim=1).double()

    weights = torch.linalg.lstsq(with_one(numbers), values.double()[:, None]).solution
    found: Tensor = (with_one(inputs) @ weights).squeeze(1).float()
    return found


def r2(found: Tensor, wanted: Tensor) -> float:
    """Return the share of the variance that is explained; 0 is what the mean of ``wanted`` itself would reach."""
    return 1 - float((found - wanted).square().sum() / (wanted - wanted.mean()).square().sum())
