from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainworthy.errors import FormulaError
from trainworthy.formulas import search as s


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_brute_force_counts_what_it_does(queries: int, points: int, dim: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    q, p = rng.normal(size=(queries, dim)), rng.normal(size=(points, dim))
    expanded = (q**2).sum(1)[:, None] - 2 * q @ p.T + (p**2).sum(1)
    np.testing.assert_allclose(expanded, ((q[:, None] - p) ** 2).sum(-1), atol=1e-9)
    product, norms, additions = 2 * queries * points * dim, 2 * dim * (queries + points), 2 * queries * points
    assert s.brute_force_flops(queries=queries, points=points, dim=dim) == product + norms + additions
    assert s.brute_force_bytes(queries=queries, points=points, dim=dim, bytes_per_element=8) == (
        q.nbytes + p.nbytes + expanded.nbytes
    )


class KdTree:
    """Splits the widest axis at its median, as in the paper; counts the points that a search looks at."""

    def __init__(self, points: np.ndarray[Any, Any], leaf_size: int) -> None:
        self.points, self.children = points, None
        self.low, self.high = points.min(0), points.max(0)
        if len(points) > leaf_size:
            axis = int(np.argmax(self.high - self.low))
            order = np.argsort(points[:, axis])
            half = len(points) // 2
            self.children = tuple(KdTree(points[part], leaf_size) for part in (order[:half], order[half:]))

    def search(self, query: np.ndarray[Any, Any], best: float) -> tuple[float, int]:
        if np.linalg.norm(np.maximum(np.maximum(self.low - query, query - self.high), 0)) >= best:
            return best, 0
        if self.children is None:
            return min(best, float(np.linalg.norm(self.points - query, axis=1).min())), len(self.points)
        looked_at = 0
        nearer = sorted(self.children, key=lambda c: float(np.linalg.norm((c.low + c.high) / 2 - query)))
        for child in nearer:
            best, more = child.search(query, best)
            looked_at += more
        return best, looked_at


@pytest.mark.parametrize("dim", [1, 2, 3, 4, 6])
def test_a_real_tree_looks_at_no_more_points_than_the_bound(dim: int) -> None:
    rng = np.random.default_rng(dim)
    points = rng.random((4000, dim))
    tree = KdTree(points, leaf_size=16)
    counts = []
    for query in rng.random((40, dim)):
        nearest, looked_at = tree.search(query, np.inf)
        assert nearest == pytest.approx(np.linalg.norm(points - query, axis=1).min())
        counts.append(looked_at)
    bound = s.tree_points_examined(points=4000, dim=dim, leaf_size=16)
    # 4000 points make leaves of 15 or 16. A tenth for the noise of 40 queries; and the bound is no idle one.
    assert bound / 10 < np.mean(counts) <= 1.1 * bound


def test_in_many_dimensions_a_tree_looks_at_everything() -> None:
    rng = np.random.default_rng(0)
    points = rng.random((2000, 20))
    tree = KdTree(points, leaf_size=16)
    looked_at = np.mean([tree.search(query, np.inf)[1] for query in rng.random((10, 20))])
    assert looked_at > 0.9 * 2000
    assert s.tree_points_examined(points=2000, dim=20, leaf_size=16) == 2000


@given(st.integers(1, 10**7), st.floats(0.5, 40), st.integers(1, 50), st.integers(1, 100))
def test_more_dimensions_and_neighbours_look_at_more(points: int, dim: float, neighbours: int, leaf: int) -> None:
    size: dict[str, Any] = {"points": points, "leaf_size": leaf}
    examined = s.tree_points_examined(**size, dim=dim, neighbours=neighbours)
    assert 0 < examined <= points
    assert s.tree_points_examined(**size, dim=dim + 1, neighbours=neighbours) >= examined * (1 - 1e-9)
    assert s.tree_points_examined(**size, dim=dim, neighbours=neighbours + 1) >= examined * (1 - 1e-9)


def test_goldens_of_the_paper_s_bound() -> None:
    # One point a leaf, one neighbour: (G(d)^(1/d) + 1)^d with G the cube over the ball: 2, (2/sqrt(pi) + 1)^2, ...
    examined = [s.tree_points_examined(points=10**9, dim=dim, leaf_size=1) for dim in (1, 2, 3)]
    assert examined == pytest.approx([2, (2 / np.pi**0.5 + 1) ** 2, ((6 / np.pi) ** (1 / 3) + 1) ** 3])


def test_the_dimension_where_trees_stop_grows_with_the_points() -> None:
    limits = [s.largest_tree_dimension(points=10**power) for power in range(10)]
    assert limits == sorted(limits)
    assert limits[0] == 0
    assert s.largest_tree_dimension(points=10**6, point_cost=1) > s.largest_tree_dimension(points=10**6, point_cost=100)


def test_memory_by_hand() -> None:
    # 1000 points, leaves of 40: levels log2(999/40) + 1 = 5, 31 nodes; 3 columns in float64.
    assert s.tree_nodes(points=1000, leaf_size=40) == 31
    assert s.tree_bytes(kind="kd-tree", points=1000, dim=3) == 24000 + 8000 + 31 * (32 + 48)
    assert s.tree_bytes(kind="ball-tree", points=1000, dim=3) == 24000 + 8000 + 31 * (32 + 24)
    assert s.tree_nodes(points=1) == s.tree_nodes(points=40) == 1
    assert s.tree_build_flops(points=40, dim=3) == 0


@pytest.mark.parametrize(
    ("points", "leaf_size", "dim", "nodes", "kd_bytes", "ball_bytes"),
    # What the arrays of KDTree and BallTree of scikit-learn hold (get_arrays()), printed once.
    [
        (1000, 40, 3, 31, 34_480, 33_736), (999, 40, 5, 31, 51_424, 50_184), (41, 40, 2, 1, 1_048, 1_032),
        (81, 40, 2, 3, 2_136, 2_088), (161, 40, 2, 7, 4_312, 4_200), (12_345, 16, 7, 1_023, 937_392, 880_104),
        (100_000, 30, 4, 4_095, 4_393_120, 4_262_080),
    ],
)  # fmt: skip
def test_trees_are_those_of_scikit_learn(
    *, points: int, leaf_size: int, dim: int, nodes: int, kd_bytes: int, ball_bytes: int
) -> None:
    assert s.tree_nodes(points=points, leaf_size=leaf_size) == nodes
    assert s.tree_bytes(kind="kd-tree", points=points, dim=dim, leaf_size=leaf_size) == kd_bytes
    assert s.tree_bytes(kind="ball-tree", points=points, dim=dim, leaf_size=leaf_size) == ball_bytes


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: s.brute_force_flops(queries=-1, points=1, dim=1), "queries"),
        (lambda: s.tree_points_examined(points=0, dim=1), "points"),
        (lambda: s.tree_points_examined(points=1, dim=0), "dim"),
        (lambda: s.tree_bytes(kind="r-tree", points=1, dim=1), "kind"),  # type: ignore[arg-type]
        (lambda: s.tree_nodes(points=1, leaf_size=0), "leaf_size"),
        (lambda: s.largest_tree_dimension(points=1, point_cost=0), "point_cost"),
    ],
)
def test_nonsense_is_refused_by_name(call: Any, argument: str) -> None:
    with pytest.raises(FormulaError) as caught:
        call()
    assert caught.value.argument == argument
