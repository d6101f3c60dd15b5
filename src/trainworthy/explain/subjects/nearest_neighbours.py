"""Nearest neighbours: brute force against trees, by number of points and dimension."""

from __future__ import annotations

import argparse

from trainworthy.explain.arguments import at_least, count
from trainworthy.explain.bars import Bar, bar_lines, bars_svg
from trainworthy.explain.explanation import Explanation, Formula
from trainworthy.explain.registry import subject
from trainworthy.formulas.search import (
    brute_force_bytes,
    brute_force_flops,
    largest_tree_dimension,
    tree_build_flops,
    tree_bytes,
    tree_nodes,
    tree_points_examined,
)
from trainworthy.units import format_bytes, format_count, format_flops

_FORMULAS = (
    Formula(
        text="points <= b ((k G(d)/b)^(1/d) + 1)^d, G(d) = 2^d / volume of the unit ball",
        source="Friedman, Bentley and Finkel, An algorithm for finding best matches in logarithmic expected "
        "time, 1977, equation 10",
    ),
    Formula(
        text="brute force = 2 q n d + 2 d (q + n) + 2 q n FLOPs",
        source="binomial formula; loses digits where distances are small beside the norms",
    ),
)
_NOTES = (
    "What counts is the dimension of the data, not the number of columns: embeddings of 768 columns may lie "
    "near 20 dimensions. Then a ball tree, which needs no axes, is the tree to try.",
    "In many dimensions all points are about equally far; approximate search (graphs, inverted lists) is the way.",
    "Scale the columns first: the largest one decides the distance.",
)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("points", nargs="?", type=count, default="1e6", help="such as 1e6 (default 1e6)")
    parser.add_argument("--dim", type=at_least(1), default=3, help="dimensions (default 3)")
    parser.add_argument("--queries", type=count, default="1000", help="default 1000")
    parser.add_argument("--neighbours", type=at_least(1), default=1, help="default 1")
    parser.add_argument("--leaf-size", type=at_least(1), default=40, help="points in a leaf (default 40)")


@subject(
    "nearest-neighbours",
    summary="brute force or trees, by points and dimension",
    group="cost",
    arguments=_arguments,
    examples=("1e6 --dim 3", "1e6 --dim 128 --queries 10000", "50000 --dim 8 --neighbours 5"),
    aliases=("knn", "kd-tree", "ball-tree", "nearest-neighbors"),
)
def nearest_neighbours(options: argparse.Namespace) -> Explanation:
    """Explain the cost of a nearest-neighbour search."""
    n, dim, queries, leaf = options.points, options.dim, options.queries, options.leaf_size
    brute = brute_force_flops(queries=queries, points=n, dim=dim)
    table = brute_force_bytes(queries=queries, points=n, dim=dim)
    examined = _examined(options, dim)
    limit = largest_tree_dimension(points=n, neighbours=options.neighbours, leaf_size=leaf)
    pays = dim <= limit
    trees = {
        "KD-tree": tree_bytes(kind="kd-tree", points=n, dim=dim, leaf_size=leaf),
        "ball tree": tree_bytes(kind="ball-tree", points=n, dim=dim, leaf_size=leaf),
    }
    seen = {d: _examined(options, d) for d in sorted({1, 2, 3, 5, 8, 12, 16, 24, dim})}
    bars = [
        Bar(
            f"{d} dimension{'s' if d > 1 else ''}", points, f"{points:,.0f} points, {points / n:.2%}",
            "strong" if d != dim else "good" if pays else "bad",
        )
        for d, points in seen.items()
    ]  # fmt: skip
    title = f"{format_count(n)} points in {dim} dimensions, {format_count(queries)} queries"
    return Explanation(
        title=title,
        result=(
            f"a tree: a query looks at about {examined:,.0f} of {n:,} points ({examined / n:.2%})"
            if pays
            else f"brute force: a tree would look at {examined / n:.0%} of the points, one by one"
        )
        + f"; for {format_count(n)} points trees pay up to about {limit} dimensions",
        steps=_steps(options, brute, table, trees),
        diagram="\n".join(["points that a query in a tree looks at", *bar_lines(bars, cells=26)]),
        svg=bars_svg(title, bars),
        formulas=_FORMULAS,
        notes=_NOTES,
        snippet=_snippet(),
        see_also=("matmul", "roofline"),
        values={
            "points": n, "dim": dim, "queries": queries, "neighbours": options.neighbours, "tree_pays": pays,
            "brute_force_flops": brute, "brute_force_bytes": table, "tree_points_examined": examined,
            "largest_tree_dim": limit, "kd_tree_bytes": trees["KD-tree"], "ball_tree_bytes": trees["ball tree"],
        },
    )  # fmt: skip


def _steps(options: argparse.Namespace, brute: int, table: int, trees: dict[str, int]) -> tuple[str, ...]:
    n, dim, leaf = options.points, options.dim, options.leaf_size
    return (
        f"Brute force: |q|^2 - 2 q.p + |p|^2 for all pairs, one matrix product: {format_flops(brute)}; the "
        f"distances take {format_bytes(table)} unless queries are done in blocks.",
        f"A tree halves the points {(tree_nodes(points=n, leaf_size=leaf) + 1).bit_length() - 2} times and has "
        f"{tree_nodes(points=n, leaf_size=leaf):,} nodes. Building costs about "
        f"{format_flops(tree_build_flops(points=n, dim=dim, leaf_size=leaf))}; memory "
        + ", ".join(f"{name} {format_bytes(size)}" for name, size in trees.items())
        + ".",
        f"A query looks into every leaf that the ball around its {options.neighbours} nearest touches: at most "
        f"((k G(d)/b)^(1/d) + 1)^d leaves of b = {leaf}, independent of the number of points, exponential in d.",
        "A point costs about ten times as much in a tree as in a matrix product (branches, scattered reads), "
        "more on a GPU.",
    )


def _examined(options: argparse.Namespace, dim: int) -> float:
    return tree_points_examined(
        points=options.points, dim=dim, neighbours=options.neighbours, leaf_size=options.leaf_size
    )  # fmt: skip


def _snippet() -> str:
    return """\
import torch

torch.manual_seed(0)
q, p = torch.rand(50, 3).double(), torch.rand(2000, 3).double()
squares = q.pow(2).sum(1)[:, None] - 2 * q @ p.T + p.pow(2).sum(1)
assert torch.allclose(squares.clamp_min(0).sqrt(), torch.cdist(q, p))
assert torch.equal(squares.argmin(1), torch.cdist(q, p).argmin(1))

def spread(dim):  # farthest / nearest: in many dimensions all are equally far
    d = torch.cdist(torch.rand(50, dim), torch.rand(2000, dim))
    return (d.max(1).values / d.min(1).values).median()

assert spread(2) > 10 * spread(200)"""
