"""Object detection with anchors: the two losses of a Faster R-CNN head, on shapes with boxes.

It teaches smooth L1 with sigma, what inside and outside weights are for, which anchors are neither good nor bad, and
to count as found only a box that overlaps by half and has the right class.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

from trainworthy.parts.losses.smooth_l1 import box_iou, smooth_l1
from trainworthy.parts.models.anchor_detector import AnchorDetector, anchors, assign, best_boxes
from trainworthy.parts.sources.shapes import CLASSES, BoxedShapes
from trainworthy.train import Batch, Loss, Mean, Phase, Quality, Recipe, TrainOptions
from trainworthy.train.classified import IGNORED
from trainworthy.train.optimizers import adamw
from trainworthy.train.schedules import cosine

SCORE = 0.5  # from which on a box is shown
BACKGROUND = 3.0  # anchors of background for each with a box, in the loss of classes


def recipe(
    *, size: int = 48, sizes: tuple[int, ...] = (14, 20, 28), width: int = 8, sigma: float = 3.0, boxes: float = 1.0,
    lr: float = 6e-3, images: int = 2000,
) -> Recipe:  # fmt: skip
    """Describe the run.

    Args:
        size: Pixels a side, a multiple of 8.
        sizes: Sides of the anchors.
        width: Channels of the first layer.
        sigma: The loss of a shift is a parabola up to 1 / sigma^2, then a line.
        boxes: Weight of the loss of shifts beside that of classes.
        lr: Highest learning rate.
        images: Number of training images.
    """
    grid = anchors(size, sizes)

    def loss(net: nn.Module, batch: Batch) -> Loss:
        out = net(batch["image"])
        of_class = class_loss(out.logits, batch["labels"])
        of_box = smooth_l1(
            out.shifts, batch["shifts"], sigma=sigma, inside_weight=batch["inside"], outside_weight=batch["outside"]
        )
        count = len(batch["image"])
        return Loss(
            total=of_class + boxes * of_box, weight=count,
            metrics={
                "class_loss": Mean(total=of_class.detach(), weight=count),
                "box_loss": Mean(total=of_box.detach(), weight=count),
            },
        )  # fmt: skip

    def evaluate(net: nn.Module, batch: Batch) -> Loss:
        found = loss(net, batch)
        return Loss(total=found.total, weight=found.weight, metrics={**found.metrics, **hits(net, batch, grid)})

    return Recipe(
        model=lambda: AnchorDetector(classes=len(CLASSES) - 1, sizes=sizes, width=width),
        phases=(Phase(loss=loss, optimizer=adamw(lr), schedule=cosine(warmup=30), clip_norm=5.0),),
        train_data=WithTargets(BoxedShapes(images, size=size), grid),
        validation_data=WithTargets(BoxedShapes(200, size=size, seed=1), grid),
        count=lambda batch: len(batch["image"]), evaluate=evaluate,
        options=TrainOptions(epochs=4, batch_size=16),
        quality=Quality(metric="recall", at_least=0.8),
    )  # fmt: skip


def class_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the sum over the images of a mean over their anchors, of which background has three quarters.

    This is what drawing three background anchors for each one with a box gives on average, without the draw. Where all
    background counts in full, its mass teaches the head to say nothing else.

    Shapes:   logits (N, A, classes + 1), labels (N, A) -> scalar
    """
    losses = functional.cross_entropy(
        logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED, reduction="none"
    ).view_as(labels)
    with_box, background = labels > 0, labels == 0
    means = [(losses * which).sum(1) / which.sum(1).clamp_min(1) for which in (with_box, background)]
    return ((means[0] + BACKGROUND * means[1]) / (1 + BACKGROUND)).sum()


class WithTargets(Dataset[dict[str, Tensor]]):
    """Images with what each anchor is to say, and the boxes themselves for evaluation."""

    def __init__(self, shapes: BoxedShapes, grid: Tensor) -> None:
        self.shapes, self.grid = shapes, grid

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.shapes)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Return an image and its targets."""
        image, boxes, classes = self.shapes[index]
        there = classes > 0
        targets = assign(boxes[there], classes[there], self.grid)
        return {"image": image, "boxes": boxes, "classes": classes, **targets._asdict()}


def hits(net: Any, batch: Batch, grid: Tensor) -> dict[str, Mean]:
    """Return recall and precision: boxes of the right class that overlap a true one by half."""
    boxes, classes, scores = best_boxes(net(batch["image"]), grid.to(batch["image"].device), count=6)
    shown, there = scores >= SCORE, batch["classes"] > 0
    same = classes[:, :, None] == batch["classes"][:, None, :]
    hit = (box_iou(boxes, batch["boxes"]) >= 0.5) & same & shown[:, :, None] & there[:, None, :]
    return {
        "recall": Mean(total=hit.any(1).sum(), weight=there.sum()),
        "precision": Mean(total=hit.any(2).sum(), weight=shown.sum()),
    }
