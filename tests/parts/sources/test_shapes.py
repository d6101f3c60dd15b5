"""Made images: each follows from its number, masks and boxes are those of the shapes."""

from __future__ import annotations

import pytest
import torch

from trainworthy.errors import UsageError
from trainworthy.parts.sources.shapes import CLASSES, BoxedShapes, Shapes


def test_an_image_follows_from_its_number_and_seed() -> None:
    data, again, other = Shapes(5), Shapes(9), Shapes(5, seed=1)
    assert torch.equal(data[3][0], again[3][0])
    assert not torch.equal(data[3][0], other[3][0])
    assert not torch.equal(data[3][0], data[4][0])


def test_shapes_of_images_and_classes() -> None:
    image, classes = Shapes(1, size=32)[0]
    assert image.shape == (3, 32, 32)
    assert classes.shape == (32, 32)
    assert classes.dtype == torch.int64
    seen = torch.stack([Shapes(60, size=32)[index][1] for index in range(60)])
    assert set(seen.unique().tolist()) == set(range(len(CLASSES)))


def test_colour_says_nothing_of_the_class() -> None:
    data = Shapes(300, size=24, noise=0.0)
    sums, counts = torch.zeros(4, 3), torch.zeros(4)
    for index in range(len(data)):
        image, classes = data[index]
        for number in classes.unique().tolist():
            sums[number] += image[:, classes == number].mean(1)
            counts[number] += 1
    assert (sums / counts[:, None]).abs().max() < 0.15  # colours are drawn from -1 to 1 with mean 0


def test_the_area_of_each_shape_is_that_of_its_formula() -> None:
    # A disc of radius r covers pi r^2, a square on its circle 2 r^2, a triangle 3 sqrt(3) / 4 r^2.
    from trainworthy.parts.sources import shapes

    for kind, area in ((1, 3.1416), (2, 2.0), (3, 1.2990)):
        import numpy as np

        rows, columns = np.mgrid[:200, :200] / 199
        draw = np.random.default_rng(kind)
        state = draw.bit_generator.state
        draw.uniform(0.15, 0.85, 2)
        radius = draw.uniform(0.17, 0.34)
        draw.bit_generator.state = state
        inside = shapes._inside(draw, kind, rows + 0.0, columns + 0.0)
        whole = not (inside[0].any() or inside[-1].any() or inside[:, 0].any() or inside[:, -1].any())
        if whole:
            assert inside.mean() == pytest.approx(area * radius**2, rel=0.05)


def test_boxes_hold_their_shapes() -> None:
    data = BoxedShapes(40, size=48)
    for index in range(len(data)):
        image, boxes, classes = data[index]
        assert image.shape == (3, 48, 48)
        there = classes > 0
        assert there[0]
        sizes = boxes[there][:, 2:] - boxes[there][:, :2]
        assert (sizes >= 3).all()
        assert (boxes >= 0).all()
        assert (boxes <= 48).all()
        assert (boxes[~there] == 0).all()


def test_too_small_and_out_of_range() -> None:
    with pytest.raises(UsageError, match="16 pixels"):
        Shapes(1, size=8)
    for data in (Shapes(2), BoxedShapes(2)):
        with pytest.raises(IndexError):
            data[2]
