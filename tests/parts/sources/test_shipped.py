"""Data that ships: sizes and ranges as its sources state them, parts that do not overlap."""

from __future__ import annotations

import pytest
import torch

from trainworthy.errors import UsageError
from trainworthy.parts.sources.shipped import diabetes_table, digit_images, help_paragraphs


def test_digits() -> None:
    training, validation = digit_images("train"), digit_images("validation")
    images, labels = training.tensors
    assert (len(training), len(validation)) == (1438, 359)
    assert images.shape[1:] == (1, 8, 8)
    assert (images.min().item(), images.max().item()) == (-1.0, 1.0)
    assert labels.unique().tolist() == list(range(10))
    rows = {tuple(image.flatten().tolist()) for image in images}
    assert not rows & {tuple(image.flatten().tolist()) for image in validation.tensors[0]}


def test_enlarged_digits_keep_their_mean() -> None:
    small, large = digit_images("validation"), digit_images("validation", size=16)
    assert large.tensors[0].shape == (359, 1, 16, 16)
    torch.testing.assert_close(large.tensors[0].mean(), small.tensors[0].mean(), atol=0.02, rtol=0)
    with pytest.raises(UsageError, match="8 pixels"):
        digit_images("train", size=4)


def test_diabetes() -> None:
    training, validation = diabetes_table("train"), diabetes_table("validation")
    assert (len(training), len(validation)) == (354, 88)
    values = torch.cat([training.tensors[1], validation.tensors[1]])
    assert (values.min().item(), values.max().item()) == (25.0, 346.0)  # Efron et al. 2004, table 1


def test_paragraphs_are_in_one_part() -> None:
    training, validation = help_paragraphs("train"), help_paragraphs("validation")
    assert sum(map(len, training)) > 200_000
    assert sum(map(len, validation)) > 20_000
    assert not set(training) & set(validation)
    assert all("\n" not in each and each == each.strip() for each in training)
