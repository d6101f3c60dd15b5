"""Optimizers as a phase wants them: made of named parameters, with weight decay where it belongs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

NamedParameters = list[tuple[str, "nn.Parameter"]]


def adamw(
    lr: float, *, weight_decay: float = 0.01, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
) -> Callable[[NamedParameters], Optimizer]:
    """Return AdamW; weights of a single dimension (biases, scales of norms) are not decayed."""

    def make(parameters: NamedParameters) -> Optimizer:
        from torch.optim import AdamW

        return AdamW(decay_groups(parameters, weight_decay), lr=lr, betas=betas, eps=eps)

    return make


def sgd(
    lr: float, *, momentum: float = 0.9, weight_decay: float = 0.0, nesterov: bool = False
) -> Callable[[NamedParameters], Optimizer]:
    """Return SGD with momentum; weights of a single dimension are not decayed."""

    def make(parameters: NamedParameters) -> Optimizer:
        from torch.optim import SGD

        return SGD(decay_groups(parameters, weight_decay), lr=lr, momentum=momentum, nesterov=nesterov)

    return make


def decay_groups(parameters: NamedParameters, weight_decay: float) -> list[dict[str, Any]]:
    """Return a group with weight decay, of weights with two dimensions and more, and one without; no empty one."""
    groups = [
        {"params": [each for _, each in parameters if each.dim() > 1], "weight_decay": weight_decay},
        {"params": [each for _, each in parameters if each.dim() <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
