"""Steps, bandwidths and time of collective operations; `collectives` says what ``payload_bytes`` is for each kind."""

from __future__ import annotations

from trainworthy.formulas.arguments import require_not_negative, require_one_of, require_positive, require_whole
from trainworthy.formulas.collective_schedules import tree_depth
from trainworthy.formulas.collectives import (
    KINDS,
    TREE_KINDS,
    Algorithm,
    Kind,
    hierarchical_bytes_sent,
    tree_bytes_sent,
)


def collective_steps(*, kind: Kind, ranks: int, algorithm: Algorithm = "ring") -> int:
    """Count the messages that must follow one another, each of which costs a latency.

    Unit:     steps
    Exact?    yes, without the further steps of a pipelined broadcast or reduce (one for each chunk after the first)
    Source:   as `ring_bytes_sent` and `tree_bytes_sent`; torch 2.13, _inductor/comm_analysis.py

    >>> collective_steps(kind="all_reduce", ranks=8), collective_steps(kind="all_gather", ranks=8)
    (14, 7)
    >>> collective_steps(kind="all_reduce", ranks=1024, algorithm="tree")
    20

    Raises:
        FormulaError: For a kind that the algorithm does not carry, or a group without ranks.
    """
    require_one_of(KINDS, kind=kind)
    require_one_of(("ring", "tree"), algorithm=algorithm)
    require_whole(1, ranks=ranks)
    if algorithm == "tree":
        require_one_of(TREE_KINDS, kind=kind)
        return tree_depth(ranks=ranks) * (2 if kind == "all_reduce" else 1)
    if kind == "send_recv":
        return min(ranks - 1, 1)
    return (ranks - 1) * (2 if kind == "all_reduce" else 1)


def bus_bandwidth_factor(*, kind: Kind, ranks: int) -> float:
    """Return bus bandwidth / algorithm bandwidth, where algorithm bandwidth is payload / time.

    Bus bandwidth can be compared with the hardware: it does not depend on the number of ranks.

    Unit:     1
    Exact?    yes, by definition; gather and scatter are those of nccl-tests' programs, not of its page
    Source:   nccl-tests, doc/PERFORMANCE.md and src/{gather,scatter,sendrecv}.cu

    >>> bus_bandwidth_factor(kind="all_reduce", ranks=8), bus_bandwidth_factor(kind="broadcast", ranks=8)
    (1.75, 1.0)

    Raises:
        FormulaError: For an unknown kind or a group without ranks.
    """
    require_one_of(KINDS, kind=kind)
    require_whole(1, ranks=ranks)
    if kind in {"broadcast", "reduce", "send_recv"}:
        return 1.0
    return (ranks - 1) / ranks * (2 if kind == "all_reduce" else 1)


def bus_gb_per_s(*, kind: Kind, payload_bytes: int, ranks: int, time_s: float) -> float:
    """Turn a measured time into nccl-tests' ``busbw``.

    Unit:     GB/s (10**9)
    Exact?    yes, by definition
    Source:   as `bus_bandwidth_factor`

    >>> round(bus_gb_per_s(kind="all_reduce", payload_bytes=2**30, ranks=8, time_s=8.2e-3), 1)
    229.2

    Raises:
        FormulaError: As `bus_bandwidth_factor`, and for a time that is not above 0.
    """
    require_whole(0, payload_bytes=payload_bytes)
    require_positive(time_s=time_s)
    return payload_bytes / time_s / 1e9 * bus_bandwidth_factor(kind=kind, ranks=ranks)


def collective_time_s(
    *, kind: Kind, payload_bytes: int, ranks: int, bus_gb_per_s: float,
    algorithm: Algorithm = "ring", base_latency_s: float = 0.0, step_latency_s: float = 0.0,
) -> float:  # fmt: skip
    """Compute latency + bytes / bandwidth: what the busiest rank sends, at ``bus_gb_per_s``.

    Unit:     s
    Exact?    a model: no congestion, no change of protocol with size, chunks enough to keep all links busy. Real groups
              reach less than a link's figure: an 8-GPU A100 node (300 GB/s) measures 229 GB/s at 1 GiB
    Source:   alpha-beta model (Hockney 1994; Thakur et al. 2005), in nccl-tests' terms

    >>> round(collective_time_s(kind="all_reduce", payload_bytes=10**9, ranks=8, bus_gb_per_s=350) * 1e3, 3)
    5.0
    >>> round(
    ...     collective_time_s(
    ...         kind="all_reduce",
    ...         payload_bytes=0,
    ...         ranks=8,
    ...         bus_gb_per_s=350,
    ...         base_latency_s=8.4e-6,
    ...         step_latency_s=3.4e-6,
    ...     )
    ...     * 1e6,
    ...     1,
    ... )
    56.0

    Raises:
        FormulaError: For a kind the algorithm does not carry, sizes below 0, or a bandwidth that is not above 0.
    """
    require_positive(bus_gb_per_s=bus_gb_per_s)
    require_not_negative(base_latency_s=base_latency_s, step_latency_s=step_latency_s)
    steps = collective_steps(kind=kind, ranks=ranks, algorithm=algorithm)
    require_whole(0, payload_bytes=payload_bytes)
    if steps == 0:
        return 0.0
    if algorithm == "tree":
        sent: float = tree_bytes_sent(kind=kind, payload_bytes=payload_bytes, ranks=ranks)
    else:
        sent = payload_bytes * bus_bandwidth_factor(kind=kind, ranks=ranks)
    return base_latency_s + steps * step_latency_s + sent / (bus_gb_per_s * 1e9)


def hierarchical_time_s(
    *, kind: Kind, payload_bytes: int, ranks_per_node: int, nodes: int,
    inside_gb_per_s: float, between_gb_per_s: float,
    base_latency_s: float = 0.0, inside_step_latency_s: float = 0.0, between_step_latency_s: float = 0.0,
) -> float:  # fmt: skip
    """Add the times of the levels of `hierarchical_bytes_sent`, one after the other.

    ``between_gb_per_s`` is what one rank has to other nodes: the network cards of a node divided by its ranks.

    Unit:     s
    Exact?    a model: libraries overlap the levels chunk by chunk, so this is the slow end
    Source:   as `collective_time_s` and `hierarchical_bytes_sent`

    >>> round(
    ...     hierarchical_time_s(
    ...         kind="all_reduce",
    ...         payload_bytes=16 * 10**8,
    ...         ranks_per_node=8,
    ...         nodes=4,
    ...         inside_gb_per_s=350,
    ...         between_gb_per_s=50,
    ...     )
    ...     * 1e3,
    ...     3,
    ... )
    14.0

    Raises:
        FormulaError: As `hierarchical_bytes_sent`, and for a bandwidth that is not above 0.
    """
    require_positive(inside_gb_per_s=inside_gb_per_s, between_gb_per_s=between_gb_per_s)
    require_not_negative(
        base_latency_s=base_latency_s,
        inside_step_latency_s=inside_step_latency_s,
        between_step_latency_s=between_step_latency_s,
    )
    sent = hierarchical_bytes_sent(kind=kind, payload_bytes=payload_bytes, ranks_per_node=ranks_per_node, nodes=nodes)
    inside_steps = collective_steps(kind=kind, ranks=ranks_per_node)
    between_steps = collective_steps(kind=kind, ranks=nodes)
    if inside_steps + between_steps == 0:
        return 0.0
    latency = base_latency_s + inside_steps * inside_step_latency_s + between_steps * between_step_latency_s
    return latency + sent.inside_bytes / (inside_gb_per_s * 1e9) + sent.between_bytes / (between_gb_per_s * 1e9)
