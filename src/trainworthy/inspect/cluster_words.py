"""What a virtual cluster adds to the first lines of a report."""

from __future__ import annotations

from trainworthy.inspect.cluster import ClusterResult, RankRow
from trainworthy.inspect.links import rank_list
from trainworthy.inspect.result import RehearsalResult
from trainworthy.units import format_bytes

_UNEVEN = 1.05  # ranks whose memory or work differs by less are called even


def whose(result: RehearsalResult, gpu: str) -> str:
    """Say whose memory a verdict speaks of: the GPU, or which GPU of how many.

    The result is that of the fullest rank.
    """
    cluster = result.cluster
    if cluster is None:
        return gpu
    if len(cluster.rehearsed) == 1:
        return f"rank {cluster.rank} of {cluster.world_size:,} {gpu}"
    shown = next(row for row in cluster.ranks if cluster.rank in row.stands_for)
    others = [rank for rank in shown.stands_for if rank != cluster.rank]
    alike = f"; {_ranks(others)} alike" if others else ""
    covered = sum(len(row.stands_for) for row in cluster.ranks)
    which = "" if covered == cluster.world_size else f"{covered:,} rehearsed of "
    return f"the fullest of {which}{cluster.world_size:,} {gpu} (rank {cluster.rank}{alike})"


def _ranks(ranks: list[int]) -> str:
    return f"rank{'s' if len(ranks) > 1 else ''} {rank_list(ranks)}"


def failed_on(result: RehearsalResult) -> str:
    """Word a failure: of the script, of one rank, or of the ranks together."""
    cluster = result.cluster
    if cluster is None:
        return "FAILED"
    if result.error is not None and result.error.get("kind") == "deadlock":
        return f"WOULD HANG on {cluster.world_size:,} GPUs"
    return f"FAILED on rank {cluster.rank} of {cluster.world_size:,}"


def cluster_lines(result: RehearsalResult) -> list[str]:
    """Say what a rank sends, and how even the ranks are."""
    cluster = result.cluster
    if cluster is None:
        return []
    lines = []
    if result.collective_bytes_per_step is not None:
        lines.append(_traffic(cluster))
    lines += _imbalance(cluster)
    if cluster.not_compared:
        lines.append(cluster.not_compared)
    return lines


def _traffic(cluster: ClusterResult) -> str:
    talk = cluster.communication
    if not talk.calls:
        return f"Rank {cluster.rank} communicates nothing in a step."
    inside, between = talk.wire_bytes - talk.wire_between_bytes, talk.wire_between_bytes
    if cluster.nodes == 1:
        places = "all inside the node"
    else:
        places = f"{format_bytes(inside)} inside its node and {format_bytes(between)} to others"
    exposed = sum(t.exposed_calls for t in talk.traffic)
    calls = "1 call" if talk.calls == 1 else f"{talk.calls:,} calls"
    beside = (
        f"{exposed:,} of them have nothing computed between issue and wait"
        if exposed
        else "something is computed between issue and wait of each"
    )
    return f"Rank {cluster.rank} sends {format_bytes(talk.wire_bytes)} a step in {calls}, {places}; {beside}."


def _imbalance(cluster: ClusterResult) -> list[str]:
    lines = []
    rows = [row for row in cluster.ranks if row.error is None]
    if len(rows) > 1:
        most = max(rows, key=lambda row: row.needed_memory_bytes)
        least = min(rows, key=lambda row: row.needed_memory_bytes)
        if most.needed_memory_bytes > _UNEVEN * max(least.needed_memory_bytes, 1):
            lines.append(
                f"Memory is uneven: {_of(most)} {_need(most)} {format_bytes(most.needed_memory_bytes)}, {_of(least)} "
                f"{format_bytes(least.needed_memory_bytes)}."
            )
        known = [row for row in rows if row.flops_per_step]
        hard = max(known, key=lambda row: row.flops_per_step or 0, default=None)
        easy = min(known, key=lambda row: row.flops_per_step or 0, default=None)
        if hard is not None and easy is not None and easy.flops_per_step:
            ratio = (hard.flops_per_step or 0) / easy.flops_per_step
            if ratio > _UNEVEN:
                lines.append(f"Work is uneven: {_of(hard)} {_do(hard)} {ratio:.2f} times the FLOPs of {_of(easy)}.")
    return lines


def _of(row: RankRow) -> str:
    return _ranks(list(row.stands_for))


def _need(row: RankRow) -> str:
    return "need" if len(row.stands_for) > 1 else "needs"


def _do(row: RankRow) -> str:
    return "do" if len(row.stands_for) > 1 else "does"
