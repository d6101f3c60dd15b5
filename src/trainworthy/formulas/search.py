"""What a nearest-neighbour search costs: brute force, KD-tree, ball tree; and when a tree stops paying.

Trees look at few points in few dimensions and at all of them in many: what counts is the *intrinsic* dimension of the
data, not the number of columns.
"""

from __future__ import annotations

import math
from typing import Literal

from trainworthy.formulas.arguments import require_one_of, require_positive, require_whole

Tree = Literal["kd-tree", "ball-tree"]
_NODE_BYTES = 32  # of scikit-learn: two indices, a flag with its padding, a radius


def brute_force_flops(*, queries: int, points: int, dim: int) -> int:
    """Count FLOPs of all squared distances by |q|^2 - 2 q.p + |p|^2: one matrix product, norms, two additions each.

    Shapes:   queries (q, d), points (n, d) -> (q, n)
    Unit:     FLOP
    Exact?    yes, without the selection of the smallest
    Source:   binomial formula; loses digits where distances are small beside the norms

    >>> brute_force_flops(queries=1000, points=10**6, dim=128)
    258256256000

    Raises:
        FormulaError: If a size is negative.
    """
    require_whole(0, queries=queries, points=points, dim=dim)
    return 2 * queries * points * dim + 2 * dim * (queries + points) + 2 * queries * points


def brute_force_bytes(*, queries: int, points: int, dim: int, bytes_per_element: int = 4) -> int:
    """Count the memory of a brute-force search that keeps all distances: data and the matrix (q, n).

    Unit:     bytes
    Exact?    yes; work in blocks of queries to keep the matrix small
    Source:   shapes

    >>> brute_force_bytes(queries=10**4, points=10**6, dim=128) // 2**30
    37

    Raises:
        FormulaError: If a size is negative.
    """
    require_whole(0, queries=queries, points=points, dim=dim)
    require_whole(1, bytes_per_element=bytes_per_element)
    return ((queries + points) * dim + queries * points) * bytes_per_element


def tree_nodes(*, points: int, leaf_size: int = 40) -> int:
    """Count the nodes of a balanced tree whose leaves hold between ``leaf_size`` and twice as many points.

    Unit:     nodes
    Exact?    yes, for scikit-learn's trees
    Source:   scikit-learn, sklearn/neighbors/_binary_tree.pxi.tp: levels log2(max(1, (n - 1)/leaf_size)) + 1

    >>> tree_nodes(points=10**6)
    32767

    Raises:
        FormulaError: If a size is below 1.
    """
    require_whole(1, points=points, leaf_size=leaf_size)
    return int(2 ** int(math.log2(max(1.0, (points - 1) / leaf_size)) + 1)) - 1


def tree_bytes(*, kind: Tree, points: int, dim: int, leaf_size: int = 40) -> int:
    """Count the memory of a tree in float64: the data, an index a point, and the nodes.

    A node of a KD-tree has two corners of d coordinates, one of a ball tree its centre.

    Unit:     bytes
    Exact?    yes, for scikit-learn's trees, which keep no copy of data that is float64 and contiguous
    Source:   as `tree_nodes`: data, idx_array, node_data, node_bounds

    >>> tree_bytes(kind="kd-tree", points=10**6, dim=3)
    34621360

    Raises:
        FormulaError: If a size is below 1 or the kind unknown.
    """
    require_one_of(("kd-tree", "ball-tree"), kind=kind)
    require_whole(1, points=points, dim=dim, leaf_size=leaf_size)
    corners = 2 if kind == "kd-tree" else 1
    nodes = tree_nodes(points=points, leaf_size=leaf_size)
    return points * dim * 8 + points * 8 + nodes * (_NODE_BYTES + corners * dim * 8)


def tree_build_flops(*, points: int, leaf_size: int = 40, dim: int) -> int:
    """Count comparisons and additions to build a tree: at each level, spreads of all dimensions and a median.

    Unit:     FLOP (comparisons count as one)
    Exact?    an order of magnitude: n d log2(n / leaf), 2 for the spread of each coordinate, about 3 for the selection
    Source:   Friedman, Bentley and Finkel 1977: O(d n log n); Hoare 1961 for the selection

    >>> tree_build_flops(points=10**6, dim=3)
    126000000

    Raises:
        FormulaError: If a size is below 1.
    """
    require_whole(1, points=points, leaf_size=leaf_size, dim=dim)
    levels = (tree_nodes(points=points, leaf_size=leaf_size) + 1).bit_length() - 2
    return points * levels * (2 * dim + 3)


def tree_points_examined(*, points: int, dim: float, neighbours: int = 1, leaf_size: int = 40) -> float:
    """Estimate how many points a query in a tree compares itself with, all of them at most.

    The ball that holds the k nearest meets at most ((k G(d) / b)^(1/d) + 1)^d leaves of b points, where G(d) is the
    volume of a cube over that of the ball in it: independent of n, and exponential in d.

    Shapes:   d = dim (of the data, not the columns; it may be a fraction), k = neighbours, b = leaf_size
    Unit:     points
    Exact?    an upper bound of the expectation, for large n and a density that is locally uniform; derived for KD-trees
              and a fair guide for ball trees
    Source:   Friedman, Bentley and Finkel, "An algorithm for finding best matches in logarithmic expected time", 1977,
              equation 10

    >>> [round(tree_points_examined(points=10**6, dim=dim)) for dim in (2, 5, 10, 15, 20)]
    [56, 545, 138679, 1000000, 1000000]

    Raises:
        FormulaError: If a size is not above 0.
    """
    require_whole(1, points=points, neighbours=neighbours, leaf_size=leaf_size)
    require_positive(dim=dim)
    log_cube_over_ball = dim * math.log(2) - (dim / 2 * math.log(math.pi) - math.lgamma(dim / 2 + 1))
    edge = math.exp((math.log(neighbours / leaf_size) + log_cube_over_ball) / dim)
    log_examined = math.log(leaf_size) + dim * math.log(edge + 1)
    return float(points) if log_examined >= math.log(points) else math.exp(log_examined)


def largest_tree_dimension(*, points: int, neighbours: int = 1, leaf_size: int = 40, point_cost: float = 10.0) -> int:
    """Return the largest dimension in which a tree still looks at fewer points than brute force is worth; 0 if none.

    ``point_cost`` is how much longer a point takes in a tree, with its branches and scattered reads, than in a matrix
    product.

    Unit:     dimensions
    Exact?    a guide; measure where it matters
    Source:   `tree_points_examined`

    >>> [largest_tree_dimension(points=10**power) for power in (3, 4, 5, 6, 9)]
    [2, 5, 7, 9, 15]

    Raises:
        FormulaError: If a size is below 1 or the cost not above 0.
    """
    require_whole(1, points=points, neighbours=neighbours, leaf_size=leaf_size)
    require_positive(point_cost=point_cost)
    dim = 0
    while dim < 64:
        examined = tree_points_examined(points=points, dim=dim + 1, neighbours=neighbours, leaf_size=leaf_size)
        if examined * point_cost >= points:
            break
        dim += 1
    return dim
