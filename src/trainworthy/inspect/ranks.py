"""From the tapes of several ranks of a virtual cluster to one result: that of the fullest, or the first that failed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from trainworthy.errors import UsageError
from trainworthy.inspect.cluster import ClusterResult, ClusterShape, Communication, RankRow, shape_of
from trainworthy.inspect.collectives import POINT_TO_POINT, Call, calls_of
from trainworthy.inspect.communication import communication
from trainworthy.inspect.pipeline import pipeline_schedule
from trainworthy.inspect.rank_findings import rank_findings
from trainworthy.inspect.result import Finding, RehearsalResult, ScriptFailure
from trainworthy.inspect.summary import summarize
from trainworthy.tape.record import Tape

_HANGING = frozenset({"TW401", "TW403", "TW404", "TW405"})  # findings after which a real cluster does not go on


def summarize_ranks(tapes: Sequence[Tape], *, assume_others: bool = False, note: str | None = None) -> RehearsalResult:
    """Work out what the tapes of the ranks of one virtual cluster say together.

    Args:
        tapes: One tape a rank; a single tape of no cluster is summarised as it is.
        assume_others: Whether ranks without a tape are taken to be like those with one.
        note: Why not every rank that could differ was rehearsed.

    Raises:
        UsageError: If the tapes are not those of different ranks of one cluster.
    """
    shapes = _shapes(tapes)
    if shapes is None:
        return summarize(tapes[0])
    by_rank = dict(sorted(zip((s.rank for s in shapes), tapes, strict=True)))
    return _combine(by_rank, shapes[0], assume_others=assume_others, note=note)


def _shapes(tapes: Sequence[Tape]) -> list[ClusterShape] | None:
    shapes = [shape for shape in map(shape_of, tapes) if shape is not None]
    if not shapes and len(tapes) == 1:
        return None
    sizes = {(s.world_size, s.gpus_per_node) for s in shapes}
    if len(shapes) < len(tapes) or len(sizes) > 1 or len({s.rank for s in shapes}) < len(shapes):
        said = ", ".join(f"rank {s.rank} of {s.world_size}" for s in shapes) or "no rank of a cluster"
        raise UsageError(
            f"The tapes are not those of different ranks of one cluster: {said}.",
            fix="Pass tapes that one `trainworthy rehearse --world-size N --tape PATH` wrote.",
        )
    return shapes


def _combine(
    tapes: Mapping[int, Tape], shape: ClusterShape, *, assume_others: bool, note: str | None
) -> RehearsalResult:
    results = {rank: summarize(tape) for rank, tape in tapes.items()}
    calls = {rank: calls_of(tape) for rank, tape in tapes.items()}
    shapes = {rank: dataclasses.replace(shape, rank=rank) for rank in tapes}
    traffic = {rank: communication(tape, shapes[rank], calls=calls[rank]) for rank, tape in tapes.items()}
    top = fullest(results)
    found = rank_findings(tapes, calls, shape)
    cluster = ClusterResult(
        rank=top, world_size=shape.world_size, gpus_per_node=shape.gpus_per_node,
        ranks=tuple(_rows(results, calls, traffic, shape, assume_others=assume_others)), communication=traffic[top],
        pipeline=pipeline_schedule(tapes, calls, step=results[top].measured_step), not_compared=note,
    )  # fmt: skip
    changes: dict[str, Any] = {
        "cluster": cluster, "findings": _all_findings(results, top, found),
        "rank_tapes": {rank: result.tape for rank, result in results.items()},
    }  # fmt: skip
    hang = next((f for f in found if f["code"] in _HANGING and f["severity"] == "error"), None)
    if hang is not None and results[top].error is None:
        changes |= {"verdict": "failed", "error": _failure(hang)}
    return dataclasses.replace(results[top], **changes)


def fullest(results: Mapping[int, RehearsalResult]) -> int:
    """Return the first rank that failed, or else the one that needs most memory."""
    failed = [rank for rank, result in results.items() if result.error is not None]
    if failed:
        return min(failed)
    return min(results, key=lambda rank: (-results[rank].needed_memory_bytes, rank))


def _failure(finding: Finding) -> ScriptFailure:
    return ScriptFailure(
        kind="deadlock", message=finding["message"], path=finding.get("path"), line=finding.get("line"),
        fix=finding.get("fix") or "",
    )  # fmt: skip


def _all_findings(results: Mapping[int, RehearsalResult], top: int, found: list[Finding]) -> list[Finding]:
    """Put what concerns all ranks first, then what the shown rank says, then what only other ranks say."""
    out = [*found, *results[top].findings]
    seen = {(f["code"], f["message"]) for f in out}
    for rank, result in results.items():
        for finding in result.findings:
            if (finding["code"], finding["message"]) not in seen:
                seen.add((finding["code"], finding["message"]))
                out.append(Finding(**{**finding, "message": f"Rank {rank}: {finding['message']}"}))
    return out


# --- which ranks are alike ----------------------------------------------------------------------------------------


def _rows(
    results: Mapping[int, RehearsalResult],
    calls: Mapping[int, Sequence[Call]],
    traffic: Mapping[int, Communication],
    shape: ClusterShape,
    *,
    assume_others: bool,
) -> list[RankRow]:
    """Make one row for the ranks that are alike; ranks that were not rehearsed follow the one they are most like."""
    classes: dict[Fingerprint, list[int]] = {}
    for rank, result in results.items():
        classes.setdefault(fingerprint(result, calls[rank], rank=rank), []).append(rank)
    owner = {rank: members[0] for members in classes.values() for rank in members}
    assumed: dict[int, list[int]] = {}
    if assume_others and len(results) > 1:
        model = _Assumption(results, calls)
        for rank in range(shape.world_size):
            if rank not in results:
                assumed.setdefault(owner[model.like(rank)], []).append(rank)
    rows = []
    like_first = next(iter(classes))
    for kind, (first, *alike) in classes.items():
        result = results[first]
        is_known = result.collective_bytes_per_step is not None
        rows.append(
            RankRow(
                rank=first, alike=tuple(alike), assumed=tuple(assumed.get(first, ())), verdict=result.verdict,
                peak_memory_bytes=result.peak_memory_bytes, reserved_memory_bytes=result.reserved_memory_bytes,
                needed_memory_bytes=result.needed_memory_bytes, flops_per_step=result.flops_per_step,
                collective_bytes_per_step=result.collective_bytes_per_step,
                wire_bytes_per_step=traffic[first].wire_bytes if is_known else None,
                error=None if result.error is None else dict(result.error), differs_in=kind.differences(like_first),
            )
        )  # fmt: skip
    return rows


class Fingerprint(NamedTuple):
    """What is equal for ranks that are alike."""

    outcome: object
    memory: object
    work: object
    calls: object

    def differences(self, other: Fingerprint) -> tuple[str, ...]:
        """Name what is not equal."""
        return tuple(name for name, mine, its in zip(self._fields, self, other, strict=True) if mine != its)


def fingerprint(result: RehearsalResult, calls: Sequence[Call], *, rank: int) -> Fingerprint:
    """Return what is equal for ranks that are alike: memory, work, and their calls seen from their place in a group."""
    failed = None if result.error is None else (result.error.get("kind"), result.error.get("line"))
    return Fingerprint(
        outcome=(result.verdict, failed), memory=(result.peak_memory_bytes, result.reserved_memory_bytes),
        work=result.flops_per_step, calls=tuple(_relative(call, rank) for call in calls),
    )  # fmt: skip


def _relative(call: Call, rank: int) -> object:
    collective, ranks = call.collective, call.group.ranks
    spacing = tuple(b - a for a, b in pairwise(ranks))
    peer: int | None = None
    if collective.peer in ranks:
        peer = ranks.index(collective.peer)
        if call.kind in POINT_TO_POINT and rank in ranks:
            peer = (peer - ranks.index(rank)) % len(ranks)
    # Only the root has a result, or an input, of some kinds; that does not make it another kind of rank.
    sizes: object = (collective.bytes_in, collective.bytes_out)
    if "object" in call.name:
        sizes = None
    elif call.kind == "broadcast":
        sizes = call.payload_bytes
    elif call.kind in ("reduce", "gather"):
        sizes = collective.bytes_in
    elif call.kind == "scatter":
        sizes = collective.bytes_out
    return (
        call.step, call.phase, call.kind, spacing, peer, sizes, collective.dtype, collective.reduce_op,
        collective.is_async,
    )  # fmt: skip


class _Assumption:
    """Says which rehearsed rank a rank is most like.

    That is one of its replicas (in a small group whose ranks send each other no single messages), else the nearest
    below it, as stages are numbered in blocks.
    """

    def __init__(self, results: Mapping[int, RehearsalResult], calls: Mapping[int, Sequence[Call]]) -> None:
        self._ranks = sorted(results)
        self._groups: list[tuple[int, int, frozenset[int]]] = []
        for rank in self._ranks:
            groups = {call.group.ranks for call in calls[rank]}
            staged = {call.group.ranks for call in calls[rank] if call.kind in POINT_TO_POINT}
            talking = {call.collective.peer for call in calls[rank] if call.kind in POINT_TO_POINT}
            for ranks in groups - staged:
                if len(ranks) > 1 and not talking & set(ranks):
                    self._groups.append((len(ranks), -rank, frozenset(ranks)))
        self._groups.sort(key=lambda group: group[:2])

    def like(self, rank: int) -> int:
        """Return a rehearsed rank."""
        for _, minus_owner, ranks in self._groups:
            if rank in ranks:
                return -minus_owner
        return max((r for r in self._ranks if r < rank), default=self._ranks[0])
