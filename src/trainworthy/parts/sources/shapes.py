"""Images of overlapping shapes with textures, noise and a mask, made by rule; every image follows from its number."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from trainworthy.errors import UsageError

CLASSES = ("background", "disc", "square", "triangle")
_LARGEST = 0.34  # of the side, from the centre of a shape to its edge
_SMALLEST = 0.17
_WAVELENGTHS = (0.6, 0.3, 0.2, 0.11)  # of the side, by class


class Shapes(Dataset[tuple[Tensor, Tensor]]):
    """Discs, squares and triangles, one to four on an image, for semantic segmentation.

    The colours say nothing of the class: background and shapes draw them from one distribution. Form does, and the
    waves over each region: broad on the background, narrower on discs, crossing on squares, narrow on triangles, in
    random directions. A slope of brightness and Gaussian noise lie over the image. A later shape covers an earlier one;
    squares and triangles are turned.

    Shapes:   [index] -> image (3, size, size), about -2 to 2; classes (size, size), int64, 0 is background

    Args:
        count: Number of images.
        size: Side in pixels; at least 16.
        noise: Deviation of the noise.
        seed: Another seed, other images; ``Shapes(..., seed=1)`` shares none with ``seed=0``.

    Raises:
        UsageError: If the side is below 16 pixels.
    """

    def __init__(self, count: int, *, size: int = 48, noise: float = 0.15, seed: int = 0) -> None:
        if size < 16:
            raise UsageError(f"size is {size}; shapes need at least 16 pixels a side.")
        self.count, self.size, self.noise, self.seed = count, size, noise, seed

    def __len__(self) -> int:
        """Return the number of images."""
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Make an image and its mask."""
        if not 0 <= index < self.count:
            raise IndexError(f"image {index} of {self.count}")
        draw = np.random.default_rng((self.seed, index))
        rows, columns = np.mgrid[: self.size, : self.size] / (self.size - 1)
        image = _texture(draw, 0, rows, columns)
        classes = np.zeros((self.size, self.size), dtype=np.int64)
        for _ in range(draw.integers(1, 5)):
            kind = int(draw.integers(1, len(CLASSES)))
            inside = _inside(draw, kind, rows, columns)
            image = np.where(inside, _texture(draw, kind, rows, columns), image)
            classes[inside] = kind
        slope = draw.normal(0, 0.4, 2)
        image = image + slope[0] * (rows - 0.5) + slope[1] * (columns - 0.5)
        image = image + draw.normal(0, self.noise, image.shape)
        return torch.from_numpy(image.astype(np.float32)), torch.from_numpy(classes)


class BoxedShapes(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """The same shapes with a box around each, for detection; at most three, whose boxes hardly overlap.

    Shapes:   [index] -> image (3, size, size); boxes (3, 4) as x1, y1, x2, y2 in pixels; classes (3,), 0 where there is
              no third or second shape, whose box is 0

    Args:
        count: Number of images.
        size: Side in pixels; at least 16.
        noise: Deviation of the noise.
        seed: Another seed, other images.

    Raises:
        UsageError: If the side is below 16 pixels.
    """

    most = 3

    def __init__(self, count: int, *, size: int = 64, noise: float = 0.15, seed: int = 0) -> None:
        self._shapes = Shapes(count, size=size, noise=noise, seed=seed)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._shapes)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        """Make an image with its boxes."""
        if not 0 <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        size, noise = self._shapes.size, self._shapes.noise
        draw = np.random.default_rng((self._shapes.seed, 1, index))
        rows, columns = np.mgrid[:size, :size] / (size - 1)
        image = _texture(draw, 0, rows, columns)
        boxes, classes, taken = (
            np.zeros((self.most, 4)),
            np.zeros(self.most, dtype=np.int64),
            np.zeros((size, size), bool),
        )
        for place in range(int(draw.integers(1, self.most + 1))):
            for _ in range(20):
                kind = int(draw.integers(1, len(CLASSES)))
                inside = _inside(draw, kind, rows, columns)
                if not (inside & taken).any():
                    break
            else:
                break
            image = np.where(inside, _texture(draw, kind, rows, columns), image)
            taken |= inside
            ys, xs = np.nonzero(inside)
            boxes[place] = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
            classes[place] = kind
        image = image + draw.normal(0, noise, image.shape)
        found = image.astype(np.float32), boxes.astype(np.float32), classes
        return torch.from_numpy(found[0]), torch.from_numpy(found[1]), torch.from_numpy(found[2])


def _texture(draw: np.random.Generator, kind: int, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return a colour with the waves of a class (3, size, size): one wave, or for squares the product of two."""
    colour = draw.uniform(-1, 1, (3, 1, 1))
    angle, wavelength = draw.uniform(0, np.pi), draw.uniform(0.9, 1.1) * _WAVELENGTHS[kind]
    phases = draw.uniform(0, 2 * np.pi, 2)
    along = (rows * np.sin(angle) + columns * np.cos(angle)) * 2 * np.pi / wavelength
    across = (rows * np.cos(angle) - columns * np.sin(angle)) * 2 * np.pi / wavelength
    wave = np.sin(along + phases[0])
    found: np.ndarray = colour + 0.4 * (wave * np.sin(across + phases[1]) if CLASSES[kind] == "square" else wave)
    return found


def _inside(draw: np.random.Generator, kind: int, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return which pixels a shape of that class covers, at a random place, size and turn."""
    row, column = draw.uniform(0.15, 0.85, 2)
    radius, turn = draw.uniform(_SMALLEST, _LARGEST), draw.uniform(0, 2 * np.pi)
    y, x = (rows - row) / radius, (columns - column) / radius
    down, across = y * np.cos(turn) - x * np.sin(turn), y * np.sin(turn) + x * np.cos(turn)
    if CLASSES[kind] == "disc":
        return np.asarray(y * y + x * x <= 1)
    if CLASSES[kind] == "square":
        return np.asarray(np.maximum(abs(down), abs(across)) <= np.sqrt(0.5))
    edges = [down * np.cos(a) + across * np.sin(a) for a in (0, 2 * np.pi / 3, 4 * np.pi / 3)]
    return np.asarray(np.max(edges, axis=0) <= 0.5)  # an equilateral triangle with corners on the circle
