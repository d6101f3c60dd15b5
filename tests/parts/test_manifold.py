"""Precision and recall among neighbours, against loops and in cases with known answers."""

from __future__ import annotations

import math

import pytest
import torch

from trainworthy.errors import ShapeError
from trainworthy.parts.manifold import class_score, precision_and_recall


def slowly(real: torch.Tensor, made: torch.Tensor, k: int) -> tuple[float, float]:
    def among(samples: torch.Tensor, others: torch.Tensor) -> float:
        inside = 0
        for sample in samples:
            for other in others:
                radius = sorted(float((other - each).norm()) for each in others)[k]
                if float((sample - other).norm()) <= radius:
                    inside += 1
                    break
        return inside / len(samples)

    return among(made, real), among(real, made)


def test_against_loops() -> None:
    generator = torch.Generator().manual_seed(1)
    real = torch.randn(20, 3, generator=generator)
    made = torch.randn(15, 3, generator=generator) * 1.5
    for k in (1, 3):
        assert precision_and_recall(real, made, neighbours=k) == pytest.approx(slowly(real, made, k))


def test_one_image_again_and_again_has_precision_without_recall() -> None:
    real = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    precision, recall = precision_and_recall(real, real[:1] + 1e-3 * torch.arange(5.0)[:, None])
    assert precision == 1.0
    assert recall < 0.05


def test_what_does_not_go_together() -> None:
    with pytest.raises(ShapeError, match="both must be"):
        precision_and_recall(torch.zeros(5, 2), torch.zeros(5, 3))
    with pytest.raises(ShapeError, match="too few"):
        precision_and_recall(torch.zeros(3, 2), torch.zeros(5, 2))


def test_class_score_against_loops() -> None:
    shares = torch.rand(30, 4, generator=torch.Generator().manual_seed(0)).softmax(-1)
    mean = [sum(float(row[k]) for row in shares) / 30 for k in range(4)]
    nats = [sum(float(row[k]) * math.log(float(row[k]) / mean[k]) for k in range(4)) for row in shares]
    assert class_score(shares) == pytest.approx(math.exp(sum(nats) / 30), rel=1e-5)
    with pytest.raises(ShapeError, match="samples, classes"):
        class_score(torch.zeros(0, 3))
