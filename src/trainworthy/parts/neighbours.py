"""Nearest neighbours: by brute force or in a tree, whichever looks at fewer points; and what they are good for.

On scikit-learn, or on FAISS where it is installed and asked for. What each way costs says
`trainworthy.formulas.search`.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainworthy.errors import ShapeError, UsageError
from trainworthy.formulas.search import largest_tree_dimension
from trainworthy.parts.need import need

Way = Literal["brute", "kd-tree", "ball-tree", "faiss"]
Metric = Literal["euclidean", "cosine"]
Points = NDArray[np.floating[Any]]
_SAMPLES_TO_CHOOSE = 100  # more would take longer than a few hundred queries
_SKLEARN_NAMES = {"brute": "brute", "kd-tree": "kd_tree", "ball-tree": "ball_tree"}


class Nearest(NamedTuple):
    """The nearest points of each query, nearest first.

    Attributes:
        distances: (q, k), float64.
        indices: (q, k), int64.
    """

    distances: NDArray[np.float64]
    indices: NDArray[np.int64]


class Within(NamedTuple):
    """A point within the radius of a query.

    Attributes:
        query: Index of the query.
        point: Index of the point.
        distance: Between them.
    """

    query: int
    point: int
    distance: float


class Neighbours:
    """An index of points.

    Shapes:   points (n, d)

    Args:
        points: The points, as numpy or anything that ``np.asarray`` takes, such as a CPU tensor.
        metric: ``euclidean``, or ``cosine``: one minus the cosine, 0 to 2.
        way: None: :func:`choose_way`. ``faiss`` is exact too, in float32, by brute force in its own kernels.

    Raises:
        ShapeError: If the points are not (n, d) with n at least 1.
        UsageError: If a number is not finite, or a point has no direction for ``cosine``.

    >>> index = Neighbours([[0.0, 0.0], [3.0, 4.0], [1.0, 0.0]])
    >>> index.nearest([[0.9, 0.0]], count=2).indices
    array([[2, 0]])
    """

    def __init__(self, points: Any, *, metric: Metric = "euclidean", way: Way | None = None) -> None:
        self.metric = metric
        self.points = self._prepared(points, "points")
        self.way = choose_way(self.points) if way is None else way
        self._index: Any = _faiss_index(self.points) if self.way == "faiss" else _sklearn_index(self.points, self.way)

    def nearest(self, queries: Any, *, count: int) -> Nearest:
        """Return the ``count`` nearest points of each query.

        Shapes:   queries (q, d) -> (q, count)

        Raises:
            UsageError: If there are not as many points.
        """
        if not 1 <= count <= len(self.points):
            raise UsageError(f"count is {count}; it must be between 1 and the number of points, {len(self.points)}.")
        rows = self._prepared(queries, "queries")
        if self.way == "faiss":
            squares, indices = self._index.search(rows.astype(np.float32), count)
            return Nearest(self._of_euclidean(np.sqrt(np.maximum(squares, 0.0))), indices.astype(np.int64))
        distances, indices = self._index.kneighbors(rows, n_neighbors=count)
        return Nearest(self._of_euclidean(distances), indices.astype(np.int64))

    def within(self, queries: Any, *, radius: float) -> list[Within]:
        """Return every point within a radius of each query, nearest first for each.

        Shapes:   queries (q, d)
        """
        rows = self._prepared(queries, "queries")
        reach = radius if self.metric == "euclidean" else (2 * max(radius, 0.0)) ** 0.5
        if self.way == "faiss":
            limit = float(np.nextafter(np.float32(reach**2), np.float32(np.inf)))  # it leaves out what is at the limit
            limits, squares, indices = self._index.range_search(rows.astype(np.float32), limit)
            pairs = [slice(limits[i], limits[i + 1]) for i in range(len(rows))]
            found = [(np.sqrt(np.maximum(squares[pair], 0.0)), indices[pair]) for pair in pairs]
        else:
            distances, indices = self._index.radius_neighbors(rows, radius=reach)
            found = list(zip(distances, indices, strict=True))
        result = []
        for query, (lengths, places) in enumerate(found):
            order = np.argsort(lengths, kind="stable")
            told = self._of_euclidean(np.asarray(lengths)[order])
            result += [Within(query, int(places[i]), float(d)) for i, d in zip(order, told, strict=True)]
        return result

    def _of_euclidean(self, distances: Any) -> NDArray[np.float64]:
        """Of points on the unit sphere, one minus the cosine is half the square of the distance."""
        found = np.asarray(distances, dtype=np.float64)
        return found if self.metric == "euclidean" else found**2 / 2

    def _prepared(self, given: Any, what: str) -> Points:
        rows = np.ascontiguousarray(np.asarray(given, dtype=np.float64))
        if rows.ndim != 2 or not rows.size or (what == "queries" and rows.shape[1] != self.points.shape[1]):
            wanted = "(n, d)" if what == "points" else f"(q, {self.points.shape[1]})"
            raise ShapeError(f"The {what} have shape {rows.shape}; it must be {wanted}.")
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if len(bad):
            raise UsageError(f"Row {bad[0]} of the {what} has a number that is not finite.")
        if self.metric == "euclidean":
            return rows
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        if not lengths.all():
            raise UsageError(f"Row {int(np.argmin(lengths))} of the {what} is 0: it has no direction.")
        return np.asarray(rows / lengths)


def choose_way(points: Any, *, neighbours: int = 1) -> Way:
    """Return the way that takes the least time.

    A tree pays while the dimension is small beside the logarithm of the number of points. What counts is the dimension
    of the data, not the number of columns: points on a surface in 100 columns have dimension 2; but as each node of a
    tree has a bound for each column, half the dimension is allowed where there are more columns. A ball tree, which
    follows the data, was slower than one of the other two for 20,000 points in each of 17 cases of 2 to 256 columns, so
    it is there to be asked for only.

    Shapes:   points (n, d)
    Source:   `trainworthy.formulas.search.largest_tree_dimension`; the times of scikit-learn 1.9

    >>> rng = np.random.default_rng(0)
    >>> choose_way(rng.normal(size=(10_000, 3))), choose_way(rng.normal(size=(10_000, 64)))
    ('kd-tree', 'brute')
    """
    rows = np.asarray(points, dtype=np.float64)
    largest = largest_tree_dimension(points=len(rows), neighbours=neighbours)
    if rows.shape[1] <= largest:
        return "kd-tree"
    if largest < 2:
        return "brute"
    dimension = intrinsic_dimension(rows, samples=_SAMPLES_TO_CHOOSE)
    return "kd-tree" if round(dimension) <= largest / 2 else "brute"


def intrinsic_dimension(points: Any, *, samples: int = 1000, seed: int = 0) -> float:
    """Estimate the dimension of the data from the ratio of the distances to the two nearest neighbours.

    Copies of a point are counted once.

    Shapes:   points (n, d) -> a number; 0 if there are not three different points
    Source:   Facco et al. 2017 (Scientific Reports 7, 12140), by maximum likelihood: ``1 / mean(log(r2 / r1))``, with
              the correction ``(n - 1) / n`` of the Pareto estimator

    Args:
        points: The data.
        samples: How many points are asked, each against all; the error is about ``1 / sqrt(samples)`` of the dimension.
        seed: Which are asked.

    >>> line = np.random.default_rng(0).uniform(size=(500, 1)) * np.ones((1, 20))
    >>> round(intrinsic_dimension(line))
    1
    """
    rows = np.asarray(points, dtype=np.float64)
    chosen = np.random.default_rng(seed).permutation(len(rows))[:samples]
    for different in (False, True):  # copies are taken out only if there are any: sorting all points takes long
        if different:
            rows = np.unique(rows, axis=0)
            chosen = np.random.default_rng(seed).permutation(len(rows))[:samples]
        if len(rows) < 3:
            return 0.0
        distances = _sklearn_index(rows, "brute").kneighbors(rows[chosen], n_neighbors=3)[0]
        first, second = distances[:, 1], distances[:, 2]
        if (first > 1e-6 * np.median(second)).all():
            break
    apart = first > 0
    total = float(np.log(second[apart] / first[apart]).sum())
    return (int(apart.sum()) - 1) / total if total > 0 else 0.0


def knn_accuracy(
    points: Any, labels: Any, queries: Any, query_labels: Any, *, count: int = 20, metric: Metric = "cosine",
    temperature: float | None = 0.07,
) -> float:  # fmt: skip
    """Return how often the neighbours of an embedding have its label: how good embeddings are, without training.

    Each neighbour votes with weight ``exp(cosine / temperature)``; without a temperature, or with Euclidean distance,
    each has one vote. A tie goes to the label of the nearest of those that tie.

    Shapes:   points (n, d), labels (n,), queries (q, d), query_labels (q,) -> a share
    Source:   Wu et al. 2018 (arXiv 1805.01978), section 3.4, temperature 0.07; k of 20 as in Caron et al. 2021
              (arXiv 2104.14294)

    >>> knn_accuracy([[0.0, 1.0], [1.0, 0.0]], ["up", "right"], [[0.1, 1.0]], ["up"], count=1)
    1.0

    Raises:
        ShapeError: If there are not as many labels as points or queries.
    """
    index, known, wanted = Neighbours(points, metric=metric), np.asarray(labels), np.asarray(query_labels)
    found = index.nearest(queries, count=min(count, len(index.points)))
    if known.shape != (len(index.points),) or wanted.shape != (len(found.indices),):
        raise ShapeError(
            f"{len(index.points)} points have labels of shape {known.shape}, {len(found.indices)} queries of shape "
            f"{wanted.shape}; there must be a label for each."
        )
    classes, numbers = np.unique(known, return_inverse=True)
    near = numbers[found.indices]
    weights = np.ones_like(found.distances)
    if metric == "cosine" and temperature is not None:
        weights = np.exp(-found.distances / temperature)  # a common factor away from exp(cosine / temperature)
    votes = np.zeros((len(near), len(classes)))
    np.add.at(votes, (np.arange(len(near))[:, None], near), weights)
    standing = votes[np.arange(len(near))[:, None], near] >= votes.max(axis=1, keepdims=True) * (1 - 1e-12)
    winner = near[np.arange(len(near)), standing.argmax(axis=1)]
    return float(np.mean(classes[winner] == wanted))


def _sklearn_index(points: Points, way: str) -> Any:
    need("sklearn", "Nearest neighbours")
    from sklearn.neighbors import NearestNeighbors

    return NearestNeighbors(algorithm=_SKLEARN_NAMES[way], metric="euclidean").fit(points)


def _faiss_index(points: Points) -> Any:
    need("faiss", "Nearest neighbours by FAISS")
    import faiss

    index = faiss.IndexFlatL2(points.shape[1])
    index.add(points.astype(np.float32))
    return index
