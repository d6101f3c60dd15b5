"""What several ranks say about the data: equal samples, equal order, batches of different sizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trainworthy.inspect.links import rank_list
from trainworthy.inspect.result import Finding, RankPlace
from trainworthy.tape.record import Tape


def batch_findings(tapes: Mapping[int, Tape]) -> Iterator[Finding]:
    """Compare what data-parallel ranks were fed."""
    yield from _same_order(tapes)
    parallel = data_parallel_ranks(tapes)
    if len(parallel) > 1:
        yield from _same_samples({rank: tapes[rank] for rank in parallel})
        yield from _uneven_batches({rank: tapes[rank] for rank in parallel})
    yield from _uneven_data_set(tapes)


def data_parallel_ranks(tapes: Mapping[int, Tape]) -> list[int]:
    """List rehearsed ranks that surely see different parts of one batch; none where that is not sure.

    Tapes say so in ``notes["data_parallel"]`` (lists of ranks that average gradients). Without it, ranks under DDP do
    that use no other group than one of all ranks.
    """
    first = tapes[min(tapes)]
    noted = first.notes.get("data_parallel")
    if noted is not None:
        group = next((set(ranks) for ranks in noted if min(tapes) in ranks), set())
        return sorted(set(tapes) & group)
    if all(tape.notes.get("ddp") and len({group.ranks for group in tape.groups}) == 1 for tape in tapes.values()):
        return sorted(set(tapes) & set(first.groups[0].ranks))
    return []


def _same_order(tapes: Mapping[int, Tape]) -> Iterator[Finding]:
    for note in tapes[min(tapes)].notes.get("samplers") or ():
        if note.get("shuffle") and not note.get("set_epoch_calls") and note.get("epochs_begun", 0) > 1:
            yield _at(
                note, "TW402", "warning",
                f"{note.get('class') or 'DistributedSampler'} shuffles, but set_epoch was never called: every epoch "
                "has the same order.",
                "Call sampler.set_epoch(epoch) at the beginning of every epoch.",
            )  # fmt: skip


def _same_samples(tapes: Mapping[int, Tape]) -> Iterator[Finding]:
    """Ranks that got the same first batches, though no sampler divides the data between them."""
    batches = {rank: _batches(tape) for rank, tape in tapes.items()}
    first = min(tapes)
    for (loader, step), note in batches[first].items():
        if loader == "forward" or _is_cut(batches[first], note, step):
            continue
        others = [r for r in batches if r != first and batches[r].get((loader, step), {}).get("digest")]
        same = [r for r in others if batches[r][loader, step]["digest"] == note.get("digest")]
        if note.get("digest") and others and same == others and not any(_is_divided(tapes[r]) for r in (first, *same)):
            yield _at(
                note, "TW409", "warning",
                f"Data-parallel ranks {rank_list([first, *same])} all got the same batch at {_where(note)}: "
                f"{len(tapes)} of {len(tapes)} rehearsed ranks do the same work.",
                "Give the DataLoader sampler=DistributedSampler(dataset), or another seed on every rank.",
                [RankPlace(rank=r, path=b.get("path"), line=b.get("line"))
                 for r, b in ((r, batches[r][loader, step]) for r in (first, same[0]))],
            )  # fmt: skip
            return


def _is_cut(batches: Mapping[tuple[Any, Any], Mapping[str, Any]], note: Mapping[str, Any], step: object) -> bool:
    """Whether the model got another number of samples than the loader gave: each rank may take its part by hand."""
    used = batches.get(("forward", step), {}).get("samples")
    return used is not None and used != note.get("samples")


def _is_divided(tape: Tape) -> bool:
    """Whether a sampler gives this rank a part of its own."""
    rank = (tape.notes.get("cluster") or {}).get("rank", 0)
    return any(
        note.get("num_replicas", 1) > 1 and note.get("rank") in (None, rank)
        for note in tape.notes.get("samplers") or ()
    )


def _batches(tape: Tape) -> dict[tuple[Any, Any], Mapping[str, Any]]:
    found: dict[tuple[Any, Any], Mapping[str, Any]] = {}
    for note in tape.notes.get("batches") or ():
        found.setdefault((note.get("loader"), note.get("step")), note)
    return found


def _uneven_batches(tapes: Mapping[int, Tape]) -> Iterator[Finding]:
    """Batches of one step whose sizes differ between ranks: the mean of means is not the mean."""
    batches = {rank: _batches(tape) for rank, tape in tapes.items()}
    first = min(tapes)
    for key, note in batches[first].items():
        sizes = {r: of[key].get("samples") for r, of in batches.items() if key in of}
        known = {r: s for r, s in sizes.items() if s is not None}
        if len(set(known.values())) > 1 and first in known:
            other = next(r for r, s in known.items() if s != known[first])
            yield _at(
                note, "TW408", "warning",
                f"Data-parallel ranks get batches of different sizes: {known[first]} samples on rank {first}, "
                f"{known[other]} on rank {other}. Gradients are averaged over ranks, so samples of the smaller batch "
                "weigh more.",
                "Divide the batch evenly: a global batch that is a multiple of the data-parallel ranks.",
                [RankPlace(rank=r, path=batches[r][key].get("path"), line=batches[r][key].get("line"))
                 for r in (first, other)],
            )  # fmt: skip
            return


def _uneven_data_set(tapes: Mapping[int, Tape]) -> Iterator[Finding]:
    for note in tapes[min(tapes)].notes.get("samplers") or ():
        size, parts = note.get("dataset_size"), note.get("num_replicas") or 1
        if size is None or parts < 2 or size % parts == 0:
            continue
        rest = size % parts
        what = (
            f"the last {rest} are dropped" if note.get("drop_last") else f"{parts - rest} are repeated to fill the rest"
        )
        yield _at(
            note, "TW408", "note",
            f"{size:,} samples do not divide among {parts} ranks: {what} in every epoch; that matters to evaluations.",
            None,
        )  # fmt: skip


def _at(  # noqa: PLR0917  a finding in the order in which it is read
    note: Mapping[str, Any],
    code: str,
    severity: str,
    message: str,
    fix: str | None,
    ranks: list[RankPlace] | None = None,
) -> Finding:
    finding = Finding(
        code=code, severity=severity, message=message, path=note.get("path"), line=note.get("line"), fix=fix
    )  # fmt: skip
    if ranks:
        finding["ranks"] = ranks
    return finding


def _where(note: Mapping[str, Any]) -> str:
    return f"{note.get('path') or '?'}:{note.get('line')}"
