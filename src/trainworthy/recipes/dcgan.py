"""DCGAN of handwritten digits: two optimizers, and a number for how good the images are.

It teaches two phases in one step, labels that are smoothed on one side and flipped now and then, and to judge a GAN by
numbers: what a classifier of real digits says of its images, and their precision and recall among real ones, beside a
Gaussian that has the mean and covariance of all pixels. In its half minute it makes more images that pass for digits
than the Gaussian does, and drops kinds of digits: its recall is the lower one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import TensorDataset

from trainworthy.parts.losses.gan import GanKind, GanLoss
from trainworthy.parts.manifold import class_score, precision_and_recall
from trainworthy.parts.models.dcgan import Discriminator, Gan, Generator, latent_noise
from trainworthy.parts.sources.shipped import digit_images
from trainworthy.train import Loss, Phase, Quality, Recipe, TrainOptions
from trainworthy.train.optimizers import adamw

Batch = tuple[Tensor, Tensor]


def recipe(
    *, loss: GanKind = "non-saturating", latent: int = 32, size: int = 16, width: int = 24, lr: float = 4e-4,
    real_label: float = 0.9, flip: float = 0.03,
) -> Recipe:  # fmt: skip
    """Describe the run.

    Args:
        loss: Which pair of losses; ``hinge`` has no labels to smooth or flip.
        latent: Width of the noise.
        size: Pixels a side: 8, 16, 32 or 64.
        width: Channels of the layers next to the image.
        lr: Learning rate of both.
        real_label: What the discriminator is told of real images.
        flip: The share of images of which it is told the opposite.
    """
    tricks = {} if loss in ("hinge", "wasserstein") else {"real_label": real_label, "flip": flip}
    gan_loss = GanLoss(kind=loss, **tricks)
    training, validation = digit_images("train", size=size), digit_images("validation", size=size)

    def discriminator(net: Any, batch: Batch) -> Loss:
        real = batch[0]
        with torch.no_grad():
            fake = net.generator(latent_noise(real, latent=latent))
        mean = gan_loss.discriminator(net.discriminator(real), net.discriminator(fake))
        return Loss.of_mean(mean, weight=len(real))

    def generator(net: Any, batch: Batch) -> Loss:
        fake = net.generator(latent_noise(batch[0], latent=latent))
        return Loss.of_mean(gan_loss.generator(net.discriminator(fake)), weight=len(fake))

    def finish(net: Any) -> Mapping[str, float]:
        noise = latent_noise(next(net.parameters()).new_empty(len(validation)), latent=latent)
        return judged(net.generator(noise).cpu(), training, validation)

    return Recipe(
        model=lambda: Gan(
            Generator(latent=latent, size=size, channels=1, width=width),
            Discriminator(size=size, channels=1, width=width),
        ),
        phases=(
            _phase("discriminator", discriminator, lr), _phase("generator", generator, lr),
        ),
        train_data=training, finish=finish,
        options=TrainOptions(epochs=40, batch_size=64, ema_decay=0.99, checkpoint_every=460),
        quality=Quality(metric="precision", at_least=0.42),  # the Gaussian has 0.35, real digits 0.84
    )  # fmt: skip


def _phase(name: str, loss: Any, lr: float) -> Phase:
    return Phase(
        name=name, loss=loss, optimizer=adamw(lr, betas=(0.5, 0.999), weight_decay=0.0),
        parameters=lambda net: [each for each in net.named_parameters() if each[0].startswith(f"{name}.")],
    )  # fmt: skip


def judged(made: Tensor, training: TensorDataset, validation: TensorDataset) -> Mapping[str, float]:
    """Judge made images, and draws from a Gaussian likewise, at 8 x 8 pixels; real ones are those of the validation.

    Shapes:   made (N, 1, size, size)
    """
    from sklearn.linear_model import LogisticRegression

    def features(images: Tensor) -> Tensor:
        return functional.adaptive_avg_pool2d(images.float(), 8).flatten(1)

    seen, real = features(training.tensors[0]), features(validation.tensors[0])
    spread = seen.double().T.cov() + 1e-3 * torch.eye(seen.shape[1], dtype=torch.float64)
    gaussian = torch.distributions.MultivariateNormal(seen.double().mean(0), spread).sample((len(made),))
    classifier = LogisticRegression(max_iter=200).fit(seen.numpy(), training.tensors[1].numpy())
    found: dict[str, float] = {}
    for name, images in (("", features(made)), ("_gaussian", gaussian.float().clamp(-1, 1))):
        precision, recall = precision_and_recall(real, images)
        score = class_score(torch.from_numpy(classifier.predict_proba(images.numpy())))
        found |= {f"score{name}": score, f"precision{name}": precision, f"recall{name}": recall}
    return found
