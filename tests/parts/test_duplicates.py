"""Duplicates: planted copies and altered copies are found, in real images too; others are not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainworthy.errors import ShapeError
from trainworthy.parts.duplicates import (
    Duplicate,
    difference_hash,
    exact_duplicates,
    near_duplicate_images,
    near_duplicates,
)

words = st.lists(st.text("ab", max_size=3), max_size=8)


@given(train=words, test=words)
def test_copies_are_found_as_loops_find_them(train: list[str], test: list[str]) -> None:
    want = [Duplicate(i, train.index(word), 0.0) for i, word in enumerate(test) if word in train]
    assert exact_duplicates(train, test) == want
    assert exact_duplicates([w.encode() for w in train], [w.encode() for w in test]) == want


def test_arrays_are_equal_with_their_shape_and_type() -> None:
    zeros = np.zeros((2, 3), np.float32)
    assert exact_duplicates([zeros], [zeros.T.copy(), zeros.astype(np.int32), zeros[::-1]]) == [Duplicate(2, 0, 0.0)]
    assert exact_duplicates(["1"], [b"1"]) == []


def photograph(seed: int, height: int = 48, width: int = 64) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Make smooth noise, as photographs have: low frequencies with random phases."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / height
    waves = [np.sin(2 * np.pi * (fx * x + fy * y) + p) for fx, fy, p in rng.uniform((-3, -3, 0), (3, 3, 6.3), (12, 3))]
    return np.asarray(np.sum(waves, axis=0))


def test_the_hash_by_hand() -> None:
    image = np.zeros((8, 9))
    image[0, 1] = 1  # brighter from 0 to 1 in the first row: the first of the 64 bits
    image[7, 8] = 1  # and from 7 to 8 in the last: the last
    assert difference_hash(image) == 2**63 + 1
    assert difference_hash(np.repeat(np.repeat(image, 3, axis=0), 2, axis=1)) == 2**63 + 1
    assert difference_hash(np.full((20, 30, 3), 7.1)) == 0


def test_altered_copies_are_found_and_others_are_not() -> None:
    rng = np.random.default_rng(0)
    train = [photograph(seed) for seed in range(40)]
    brighter = train[3] * 0.6 + 20
    noisy = train[5] + rng.normal(scale=0.1, size=train[5].shape)
    smaller = train[7].reshape(24, 2, 32, 2).mean(axis=(1, 3))
    coloured = np.stack([train[9]] * 3, axis=-1)
    found = near_duplicate_images(train, [brighter, noisy, smaller, coloured, photograph(99)], most=6)
    assert [(row.test, row.train) for row in found] == [(0, 3), (1, 5), (2, 7), (3, 9)]
    assert found[0].distance == found[3].distance == 0
    apart = [(difference_hash(a) ^ difference_hash(b)).bit_count() for a in train[:20] for b in train[20:]]
    assert np.mean(apart) == pytest.approx(32, abs=4)


def test_more_images_than_a_block() -> None:
    train = [photograph(seed, 8, 9) for seed in range(300)]
    found = near_duplicate_images(train, train, most=0)
    assert len(found) == 300
    assert all(row.distance == 0 for row in found)
    assert near_duplicate_images([], train) == []


def test_embeddings_near_each_other_are_found() -> None:
    rng = np.random.default_rng(0)
    train = rng.normal(size=(200, 16))
    test = np.concatenate([train[[4, 50]] + 1e-3 * rng.normal(size=(2, 16)), rng.normal(size=(20, 16))])
    assert [(row.test, row.train) for row in near_duplicates(train, test, radius=1e-3)] == [(0, 4), (1, 50)]


def test_an_image_that_is_too_small_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"shape \(8, 8\)"):
        difference_hash(np.zeros((8, 8)))
