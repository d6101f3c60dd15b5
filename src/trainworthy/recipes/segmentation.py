"""Semantic segmentation of textured shapes with a U-Net, or with FCN-32s, 16s and 8s.

It teaches to average IoU as sums of intersections and unions instead of a mean over batches, and how much of the
outline each skip connection of FCN brings back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from trainworthy.parts.models.fcn import FCN
from trainworthy.parts.models.unet import UNet
from trainworthy.parts.sources.shapes import CLASSES, Shapes
from trainworthy.train import Loss, Mean, Phase, Quality, Recipe, TrainOptions
from trainworthy.train.classified import classified
from trainworthy.train.optimizers import adamw
from trainworthy.train.schedules import cosine

Batch = tuple[Tensor, Tensor]
Name = Literal["unet", "fcn32s", "fcn16s", "fcn8s"]
STATED = {"unet": 0.75, "fcn32s": 0.2, "fcn16s": 0.4, "fcn8s": 0.45}


def recipe(
    *, model: Name = "unet", size: int = 48, width: int = 8, lr: float = 8e-3, noise: float = 0.15, images: int = 2000
) -> Recipe:
    """Describe the run.

    Args:
        model: Which network.
        size: Pixels a side, a multiple of 8.
        width: Channels of the first stage.
        lr: Highest learning rate.
        noise: Deviation of the noise on the images, whose values go from about -2 to 2.
        images: Number of training images.
    """
    validation = Shapes(200, size=size, noise=noise, seed=1)

    def loss(net: nn.Module, batch: Batch) -> Loss:
        return classified(net(batch[0]).movedim(1, -1), batch[1])

    def evaluate(net: nn.Module, batch: Batch) -> Loss:
        logits = net(batch[0])
        found = classified(logits.movedim(1, -1), batch[1])
        overlaps = {
            f"iou_{name}": each for name, each in zip(CLASSES, overlap(logits.argmax(1), batch[1]), strict=True)
        }
        return Loss(total=found.total, weight=found.weight, metrics={**found.metrics, **overlaps})

    def finish(net: nn.Module) -> Mapping[str, float]:
        device = next(net.parameters()).device
        sums = torch.zeros(len(CLASSES), 2)
        for batch, classes in DataLoader(validation, batch_size=50):
            found = overlap(net(batch.to(device)).argmax(1).cpu(), classes)
            sums += torch.tensor([[float(each.total), float(each.weight)] for each in found])
        return {"mean_iou": float((sums[:, 0] / sums[:, 1]).mean())}

    return Recipe(
        model=lambda: make_model(model, width),
        phases=(Phase(loss=loss, optimizer=adamw(lr), schedule=cosine(warmup=20), clip_norm=1.0),),
        train_data=Shapes(images, size=size, noise=noise),
        validation_data=validation,
        count=lambda batch: batch[1].numel(),
        evaluate=evaluate,
        finish=finish,
        options=TrainOptions(epochs=2, batch_size=16, evaluate_every=50),
        quality=Quality(metric="mean_iou", at_least=STATED[model]),
    )


def make_model(name: Name, width: int) -> nn.Module:
    """Return the network for three channels and the classes of the shapes."""
    if name == "unet":
        return UNet(
            classes=len(CLASSES), channels=3, width=width, depth=3, padding="same", batch_norm=True, dropout=0.0
        )
    strides: dict[str, Literal[32, 16, 8]] = {"fcn32s": 32, "fcn16s": 16, "fcn8s": 8}
    return FCN(
        strides[name], classes=len(CLASSES), depth=11, width=width, hidden=16 * width, kernel=1, padding="same",
        dropout=0.1,
    )  # fmt: skip


def overlap(found: Tensor, wanted: Tensor) -> list[Mean]:
    """Return for each class the pixels of the intersection and of the union; their ratio is the IoU over all images.

    Shapes:   both (N, H, W) -> as many as there are classes
    """
    sums = []
    for number in range(len(CLASSES)):
        here, there = found == number, wanted == number
        sums.append(Mean(total=(here & there).sum(), weight=(here | there).sum()))
    return sums
