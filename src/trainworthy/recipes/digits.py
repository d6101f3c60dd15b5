"""Image classification: handwritten digits with a ResNet, AlexNet, VGG, GoogLeNet or ConvNeXt.

It teaches how published networks are scaled to small images without changing what they are, what the auxiliary heads
of GoogLeNet do to the loss, which weights are decayed, and when a random shift helps.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

from trainworthy.parts.models.alexnet import AlexNet
from trainworthy.parts.models.convnext import ConvNeXt
from trainworthy.parts.models.googlenet import GoogLeNet, GoogLeNetLogits
from trainworthy.parts.models.resnet import ResNet
from trainworthy.parts.models.vgg import VGG
from trainworthy.parts.sources.shipped import digit_images
from trainworthy.train import Loss, Phase, Quality, Recipe, TrainOptions
from trainworthy.train.classified import classified
from trainworthy.train.optimizers import adamw
from trainworthy.train.schedules import cosine

Batch = tuple[Tensor, Tensor]
Name = Literal["resnet", "alexnet", "vgg", "googlenet", "convnext"]
EPOCHS = {"resnet": 12, "alexnet": 40, "vgg": 40, "googlenet": 15, "convnext": 40}  # in which each reaches 97 %
_HEAD_SHARE = 0.3  # of each auxiliary head of GoogLeNet in the loss: section 5 of the paper


def recipe(
    *, model: Name = "resnet", size: int = 8, width: int = 16, lr: float = 3e-3, weight_decay: float = 0.05,
    smoothing: float = 0.1, shift: int = 1,
) -> Recipe:  # fmt: skip
    """Describe the run.

    Args:
        model: Which network.
        size: Pixels a side; the digits have 8, and are enlarged for more.
        width: Channels of the first stage.
        lr: Highest learning rate.
        weight_decay: Of matrices and kernels.
        smoothing: Share of the label that is spread over all classes.
        shift: Most pixels by which a training image is moved.
    """

    def loss(net: nn.Module, batch: Batch) -> Loss:
        images, labels = batch
        found = net(images)
        if not isinstance(found, GoogLeNetLogits):
            return classified(found, labels, smoothing=smoothing)
        main = classified(found.logits, labels, smoothing=smoothing)
        heads = [classified(each, labels).total for each in (found.early, found.late) if each is not None]
        return Loss(total=main.total + _HEAD_SHARE * sum(heads), weight=main.weight, metrics=main.metrics)

    def evaluate(net: nn.Module, batch: Batch) -> Loss:
        found = net(batch[0])
        return classified(found.logits if isinstance(found, GoogLeNetLogits) else found, batch[1])

    return Recipe(
        model=lambda: make_model(model, size=size, width=width),
        phases=(
            Phase(loss=loss, optimizer=adamw(lr, weight_decay=weight_decay), schedule=cosine(warmup=30), clip_norm=1.0),
        ),
        train_data=Shifted(digit_images("train", size=size), shift),
        validation_data=digit_images("validation", size=size),
        evaluate=evaluate,
        blocks=lambda net: [
            name for name, _ in net.named_modules() if name.startswith("blocks.") and name.count(".") == 1
        ],
        options=TrainOptions(epochs=EPOCHS[model], batch_size=64),
        quality=Quality(metric="accuracy", at_least=0.97),
    )


def make_model(name: Name, *, size: int, width: int) -> nn.Module:
    """Return the network for images of one channel and that size, for ten classes."""
    if name == "alexnet":
        return AlexNet(classes=10, channels=1, width=width, hidden=16 * width, pooled=2, stem="small")
    if name == "vgg":
        pools = min(5, size.bit_length() - 2)  # so that two pixels a side are left
        return VGG(11, classes=10, channels=1, batch_norm=True, width=width, hidden=16 * width, pooled=2, pools=pools)
    if name == "googlenet":
        return GoogLeNet(classes=10, channels=1, scale=width / 64, hidden=16 * width, stem="small")
    if name == "convnext":
        return ConvNeXt(classes=10, channels=1, depths=(2, 2), width=4 * width, patch=size // 4, skip=0.0)
    return ResNet(18, classes=10, channels=1, width=width, stem="small")


class Shifted(Dataset[tuple[Tensor, Tensor]]):
    """Images moved by up to ``most`` pixels in each direction, another way in each epoch; what is uncovered is -1."""

    def __init__(self, images: Dataset[tuple[Tensor, ...]], most: int) -> None:
        self.images, self.most = images, most

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return an image, moved, and its label."""
        image, label = self.images[index]
        if not self.most:
            return image, label
        side = image.shape[-1]
        row, column = torch.randint(0, 2 * self.most + 1, (2,)).tolist()
        padded = functional.pad(image, (self.most,) * 4, value=-1.0)
        return padded[..., row : row + side, column : column + side], label
