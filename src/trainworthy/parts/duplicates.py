"""Near-duplicates between training and test data: what is in both makes a test say more than is true."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainworthy.errors import ShapeError
from trainworthy.parts.neighbours import Metric, Neighbours

_BLOCK = 256


class Duplicate(NamedTuple):
    """A sample of the test data that the training data has too.

    Attributes:
        test: Its index in the test data.
        train: The index of the first, or nearest, that is like it.
        distance: Between them: 0 for a copy; bits that differ for images; a distance for embeddings.
    """

    test: int
    train: int
    distance: float


def exact_duplicates(train: Iterable[Any], test: Iterable[Any]) -> list[Duplicate]:
    """Find copies: texts, bytes or arrays that are equal, type and shape included.

    Each sample is kept as a hash of 32 bytes, so data larger than memory goes through.

    >>> exact_duplicates(["a", "b"], ["c", "b", "b"])
    [Duplicate(test=1, train=1, distance=0.0), Duplicate(test=2, train=1, distance=0.0)]
    """
    seen: dict[bytes, int] = {}
    for index, sample in enumerate(train):
        seen.setdefault(_digest(sample), index)
    found = ((index, seen.get(_digest(sample))) for index, sample in enumerate(test))
    return [Duplicate(index, first, 0.0) for index, first in found if first is not None]


def near_duplicates(train: Any, test: Any, *, radius: float, metric: Metric = "cosine") -> list[Duplicate]:
    """Find embeddings of the test data that are within a radius of one of the training data; the nearest is told.

    Shapes:   train (n, d), test (q, d)

    >>> near_duplicates([[1.0, 0.0], [0.0, 1.0]], [[0.0, 2.0], [1.0, 1.0]], radius=0.05)
    [Duplicate(test=0, train=1, distance=0.0)]
    """
    found = Neighbours(train, metric=metric).nearest(test, count=1)
    pairs = zip(found.distances[:, 0], found.indices[:, 0], strict=True)
    return [Duplicate(i, int(near), float(d)) for i, (d, near) in enumerate(pairs) if d <= radius]


def difference_hash(image: Any) -> int:
    """Return 64 bits that say where an image gets brighter from left to right, on a grid of 8 x 9 averages.

    Resizing, compressing, brightening and a change of contrast alter few of them. An image without any contrast is 0.

    Shapes:   (H, W) or (H, W, colours), H at least 8, W at least 9
    Source:   the "dHash" of Krawetz 2013, with exact area averages for the resizing

    >>> difference_hash(np.tile(np.arange(9), (8, 1))) == 2**64 - 1
    True

    Raises:
        ShapeError: If the image is too small or has other dimensions.
    """
    grey = np.asarray(image, dtype=np.float64)
    grey = grey.mean(axis=-1) if grey.ndim == 3 else grey
    if grey.ndim != 2 or grey.shape[0] < 8 or grey.shape[1] < 9:
        raise ShapeError(f"An image of shape {np.shape(image)} has no difference hash; it needs at least 8 x 9 pixels.")
    small = _area_weights(grey.shape[0], 8) @ grey @ _area_weights(grey.shape[1], 9).T
    # What rounding makes of equal averages is no difference.
    brighter = np.diff(small, axis=1) > 1e-9 * max(1.0, float(np.abs(small).max()))
    return int("".join("1" if bit else "0" for bit in brighter.flat), 2)


def near_duplicate_images(train: Sequence[Any], test: Sequence[Any], *, most: int = 4) -> list[Duplicate]:
    """Find images of the test data of which at most so many of the 64 bits differ from one of the training data.

    Photographs differ in about 32 bits by chance; drawings and digits on an empty ground in fewer.

    Shapes:   each (H, W) or (H, W, colours); sizes may differ

    >>> image = np.random.default_rng(0).uniform(size=(16, 18))
    >>> near_duplicate_images([image], [image * 0.5 + 10])
    [Duplicate(test=0, train=0, distance=0.0)]
    """
    if not len(train) or not len(test):
        return []
    known, asked = _hashes(train), _hashes(test)
    found = []
    for start in range(0, len(asked), _BLOCK):
        differ = _bit_count(asked[start : start + _BLOCK, None] ^ known[None, :])
        nearest = differ.argmin(axis=1)
        for row, train_index in enumerate(nearest):
            bits = int(differ[row, train_index])
            if bits <= most:
                found.append(Duplicate(start + row, int(train_index), float(bits)))
    return found


def _digest(sample: Any) -> bytes:
    if isinstance(sample, (bytes, str)):
        kind, data = type(sample).__name__, sample if isinstance(sample, bytes) else sample.encode()
    else:
        array = np.ascontiguousarray(np.asarray(sample))
        kind, data = f"{array.dtype}{array.shape}", array.tobytes()
    return hashlib.sha256(kind.encode() + b"\0" + data).digest()


def _hashes(images: Sequence[Any]) -> NDArray[np.uint64]:
    return np.array([difference_hash(image) for image in images], dtype=np.uint64)


def _bit_count(words: NDArray[np.uint64]) -> NDArray[np.int64]:
    return np.asarray(np.unpackbits(words[..., None].view(np.uint8), axis=-1).sum(axis=-1), dtype=np.int64)


def _area_weights(size: int, cells: int) -> NDArray[np.float64]:
    """Return (cells, size): how much of each pixel lies in each cell, rows summing to 1."""
    edges = np.arange(cells + 1) * size / cells
    low, high = np.arange(size), np.arange(1, size + 1)
    shares = np.minimum(high, edges[1:, None]) - np.maximum(low, edges[:-1, None])
    return np.asarray(np.maximum(shares, 0.0) * cells / size)
