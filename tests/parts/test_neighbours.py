"""Neighbours: every way against loops, the choice of a way, dimensions that are known, votes by hand."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainworthy.errors import ShapeError, UsageError
from trainworthy.formulas.search import largest_tree_dimension
from trainworthy.parts.neighbours import Metric, Neighbours, Way, choose_way, intrinsic_dimension, knn_accuracy

WAYS: tuple[Way, ...] = ("brute", "kd-tree", "ball-tree", *(("faiss",) if find_spec("faiss") else ()))


def distance(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], metric: Metric) -> float:
    if metric == "euclidean":
        return float(np.sqrt(sum((x - y) ** 2 for x, y in zip(a, b, strict=True))))
    return 1 - float(a @ b) / float(np.linalg.norm(a) * np.linalg.norm(b))


@given(seed=st.integers(0, 2**31), metric=st.sampled_from(["euclidean", "cosine"]), way=st.sampled_from(WAYS))
@settings(max_examples=30)
def test_every_way_finds_what_loops_find(seed: int, metric: Metric, way: Way) -> None:
    rng = np.random.default_rng(seed)
    points, queries = rng.normal(size=(30, 4)), rng.normal(size=(5, 4))
    index = Neighbours(points, metric=metric, way=way)
    every = np.array([[distance(q, p, metric) for p in points] for q in queries])
    found = index.nearest(queries, count=3)
    np.testing.assert_array_equal(found.indices, every.argsort(axis=1)[:, :3])
    np.testing.assert_allclose(found.distances, np.sort(every, axis=1)[:, :3], atol=1e-5)
    radius = float(np.sort(every.ravel())[20]) + 1e-4
    near = index.within(queries, radius=radius)
    assert {(row.query, row.point) for row in near} == {tuple(pair) for pair in np.argwhere(every <= radius).tolist()}
    assert [row.query for row in near] == sorted(row.query for row in near)
    for row in near:
        assert row.distance == pytest.approx(every[row.query, row.point], abs=1e-5)


def test_a_point_at_the_radius_is_within_it() -> None:
    for way in WAYS:
        near = Neighbours([[0.0, 0.0], [3.0, 4.0]], way=way).within([[0.0, 0.0]], radius=5.0)
        assert [(row.point, row.distance) for row in near] == [(0, 0.0), (1, 5.0)]


def test_tensors_go_in() -> None:
    import torch

    assert Neighbours(torch.eye(3)).nearest(torch.eye(3)[:1], count=1).indices.tolist() == [[0]]


def test_the_way_follows_the_dimension_of_the_data_not_its_columns() -> None:
    rng = np.random.default_rng(0)
    limit = largest_tree_dimension(points=4000)
    assert choose_way(rng.normal(size=(4000, limit))) == "kd-tree"
    assert choose_way(rng.normal(size=(4000, 40))) == "brute"
    surface = rng.normal(size=(4000, 2)) @ rng.normal(size=(2, 40))
    assert choose_way(surface) == "kd-tree"
    assert choose_way(rng.normal(size=(4000, limit)) @ rng.normal(size=(limit, 40))) == "brute"
    assert choose_way(rng.normal(size=(10, 40))) == "brute"
    assert Neighbours(surface).way == "kd-tree"


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_the_dimension_of_a_cube_in_more_columns(dim: int) -> None:
    rng = np.random.default_rng(0)
    turned = np.linalg.qr(rng.normal(size=(20, 20)))[0][:dim]
    points = rng.uniform(size=(3000, dim)) @ turned
    assert intrinsic_dimension(points) == pytest.approx(dim, rel=0.15)
    assert intrinsic_dimension(np.repeat(points[:500], 3, axis=0)) == pytest.approx(dim, rel=0.2)


def test_too_few_points_have_no_dimension() -> None:
    assert intrinsic_dimension(np.zeros((5, 2))) == 0.0


def test_votes_are_those_of_scikit_learn() -> None:
    from sklearn.neighbors import KNeighborsClassifier

    rng = np.random.default_rng(0)
    points, queries = rng.normal(size=(80, 3)), rng.normal(size=(60, 3))
    labels, wanted = (points[:, 0] > 0).astype(int), (queries[:, 0] > 0).astype(int)
    theirs = KNeighborsClassifier(7).fit(points, labels).score(queries, wanted)
    mine = knn_accuracy(points, labels, queries, wanted, count=7, metric="euclidean")
    assert mine == pytest.approx(theirs)
    weighted = KNeighborsClassifier(7, metric="cosine", weights=lambda d: np.exp(-d / 0.07))
    mine = knn_accuracy(points, labels, queries, wanted, count=7)
    assert mine == pytest.approx(weighted.fit(points, labels).score(queries, wanted))


def test_a_tie_goes_to_the_nearest_and_a_count_beyond_the_points_takes_all() -> None:
    points, labels = [[0.0, 1.0], [0.0, 2.0], [0.0, 3.0], [0.0, 4.0]], ["b", "a", "a", "b"]
    assert knn_accuracy(points, labels, [[0.0, 0.9]], ["b"], count=4, metric="euclidean") == 1.0
    assert knn_accuracy(points, labels, [[0.0, 0.9]], ["b"], count=99, metric="euclidean") == 1.0
    assert knn_accuracy(points, labels, [[0.0, 0.9]], ["a"], count=3, metric="euclidean") == 1.0


def test_mistakes_are_said() -> None:
    with pytest.raises(ShapeError, match=r"The points have shape \(3,\)"):
        Neighbours([1.0, 2.0, 3.0])
    with pytest.raises(ShapeError, match=r"The queries have shape \(1, 3\); it must be \(q, 2\)"):
        Neighbours([[1.0, 2.0]]).nearest([[1.0, 2.0, 3.0]], count=1)
    with pytest.raises(UsageError, match="Row 1 of the points has a number that is not finite"):
        Neighbours([[1.0], [float("nan")]])
    with pytest.raises(UsageError, match="Row 0 of the points is 0"):
        Neighbours([[0.0, 0.0], [1.0, 0.0]], metric="cosine")
    with pytest.raises(UsageError, match="count is 3"):
        Neighbours([[1.0], [2.0]]).nearest([[1.0]], count=3)
    with pytest.raises(ShapeError, match="there must be a label for each"):
        knn_accuracy([[1.0], [2.0]], [0], [[1.0]], [0])


@pytest.mark.skipif(find_spec("faiss") is not None, reason="faiss is installed")
def test_a_library_that_is_not_there_is_named() -> None:
    with pytest.raises(UsageError, match="needs faiss-cpu, which is not installed"):
        Neighbours([[1.0]], way="faiss")
