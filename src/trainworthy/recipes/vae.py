"""Variational autoencoder of handwritten digits, measured in nats against independent pixels.

It teaches both terms of the bound as sums over a sample, why its value in evaluation needs a draw of the code and not
its mean, and what a collapsed code looks like: ``divergence`` near 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

from trainworthy.parts.losses.variational import kl_to_standard_normal, negative_elbo
from trainworthy.parts.models.vae import Vae
from trainworthy.parts.sources.shipped import Part, digit_images
from trainworthy.train import Loss, Mean, Phase, Quality, Recipe, TrainOptions
from trainworthy.train.optimizers import adamw
from trainworthy.train.schedules import cosine

if TYPE_CHECKING:
    Batch = tuple[Tensor]


def recipe(*, latent: int = 10, hidden: tuple[int, ...] = (256,), beta: float = 1.0, lr: float = 3e-3) -> Recipe:
    """Describe the run.

    Args:
        latent: Width of the code.
        hidden: Widths of the encoder's layers, those of the decoder in reverse.
        beta: Weight of the divergence in training; the evaluation has 1.
        lr: Highest learning rate.
    """
    training, validation = black_and_white("train"), black_and_white("validation")

    def bound(net: nn.Module, batch: Batch, weight: float, *, logits: Tensor | None = None) -> Loss:
        out = net(batch[0])
        found = negative_elbo(
            out.logits if logits is None else logits, out.mean, out.log_variance, x=batch[0], beta=weight
        )
        divergence = kl_to_standard_normal(out.mean, out.log_variance).sum()
        return Loss(
            total=found.total, weight=found.weight,
            metrics={"divergence": Mean(total=divergence, weight=found.weight)},
        )  # fmt: skip

    def evaluate(net: Any, batch: Batch) -> Loss:
        out = net(batch[0])
        code = out.mean + torch.randn_like(out.mean) * (out.log_variance / 2).exp()
        return bound(net, batch, 1.0, logits=net.decode(code))

    def finish(net: nn.Module) -> Mapping[str, float]:
        return {"independent_pixels": independent_pixels(training.tensors[0], validation.tensors[0])}

    return Recipe(
        model=lambda: Vae(shape=(1, 8, 8), latent=latent, hidden=hidden),
        phases=(
            Phase(
                loss=lambda net, batch: bound(net, batch, beta),
                optimizer=adamw(lr, weight_decay=0.0), schedule=cosine(warmup=20), clip_norm=10.0,
            ),
        ),
        train_data=training, validation_data=validation, evaluate=evaluate, finish=finish,
        options=TrainOptions(epochs=60, batch_size=64, evaluate_every=115, checkpoint_every=460),
        quality=Quality(metric="loss", at_most=21.0),
    )  # fmt: skip


def black_and_white(part: Part) -> TensorDataset:
    """Return the digits with pixels of 0 and 1, for which a Bernoulli likelihood is one."""
    return TensorDataset((digit_images(part).tensors[0] > 0).float())


def independent_pixels(training: Tensor, validation: Tensor) -> float:
    """Return the nats a validation image costs if each pixel has its own, independent probability (Laplace's rule)."""
    shares = (training.sum(0) + 1) / (len(training) + 2)
    nats = functional.binary_cross_entropy(shares.expand_as(validation), validation, reduction="sum")
    return float(nats / len(validation))
