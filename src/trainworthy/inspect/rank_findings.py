"""Facts that only a view of several ranks gives, as findings (TW401 to TW413); each names both ranks' lines.

A check that is not sure stays silent: what a tape's notes leave out is not judged, and ranks that ended early are
compared only up to where they went.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trainworthy.inspect.cluster import ClusterShape
from trainworthy.inspect.collectives import Call
from trainworthy.inspect.links import rank_list
from trainworthy.inspect.rank_data import batch_findings
from trainworthy.inspect.rendezvous import Meeting, Mismatch, RankCalls, Stuck, Unreceived, meet
from trainworthy.inspect.result import Finding, RankPlace
from trainworthy.tape.record import Tape
from trainworthy.units import format_bytes

_BATCH_NORM = re.compile(r"batch_norm")
_HANGS = "Every rank of a group has to make the same calls in the same order; "


def rank_findings(tapes: Mapping[int, Tape], calls: Mapping[int, Sequence[Call]], shape: ClusterShape) -> list[Finding]:
    """Compare the tapes of several ranks, by rank; of one rank, what it alone shows."""
    found = list(_group_order(tapes))
    # Groups made in another order are other groups on every rank: what follows from that is no news.
    if not found:
        found += _meeting(meet({rank: _rank_calls(rank, tape, calls[rank]) for rank, tape in tapes.items()}))
    found += batch_findings(tapes)
    found += _buffers(tapes)
    found += _unused(tapes, shape)
    found += _unaveraged(tapes, calls)
    found += _same_device(tapes, shape)
    return found


def _rank_calls(rank: int, tape: Tape, calls: Sequence[Call]) -> RankCalls:
    stop = tape.notes.get("stopped_at")
    place = (str(stop["path"]), int(stop["line"])) if isinstance(stop, dict) and stop.get("path") else None
    return RankCalls(rank=rank, calls=calls, groups=tape.groups, seen_to=seen_to(tape), stopped_at=place)


def seen_to(tape: Tape) -> int | None:
    """Return the last step to whose end the tape surely goes; None if the script ran to its own end."""
    notes = tape.notes
    if notes.get("error") or notes.get("partial"):
        return -1
    if notes.get("ended_by") == "script":
        return None
    complete = [segment.step for segment in tape.segments if segment.complete]
    return max(complete, default=-1)


# --- calls that do not meet -----------------------------------------------------------------------------------------


def _meeting(meeting: Meeting) -> Iterator[Finding]:
    if meeting.mismatch is not None:
        yield _mismatch(meeting.mismatch)
    yield from _stuck(meeting.stuck)
    for unreceived in meeting.unreceived:
        yield _unreceived(unreceived)


def _mismatch(m: Mismatch) -> Finding:
    group = f"{m.call.group.name!r} (ranks {rank_list(m.call.group.ranks)})"
    when = "before the first step" if m.call.step == 0 else f"in step {m.call.step}"
    before = f"{when}, after {_calls(m.matched)} that agreed" if m.matched else f"{when}, in their first call on it"
    uneven = m.what == "size" and m.call.kind == "all_gather"
    lines = f"rank {m.first} is in {describe(m.call)}, rank {m.second} in {describe(m.other)}"
    if uneven:
        message = f"Ranks gather pieces of different sizes on group {group} {before}: {lines}."
        fix = "Pad the pieces to one size and cut afterwards, or pass every rank the list of all sizes."
    else:
        message = f"Ranks disagree in {_WHAT[m.what]} on group {group} {before}: {lines}."
        fix = _HANGS + "move this call out of what only some ranks run."
    return _finding(
        "TW403" if uneven else "TW401", message, fix, [(m.first, m.call), (m.second, m.other)], severity="error"
    )  # fmt: skip


_WHAT = {
    "kind": "what they call", "dtype": "dtype", "reduction": "how to reduce", "root": "the root", "size": "size",
}  # fmt: skip


def _stuck(stuck: Sequence[Stuck]) -> Iterator[Finding]:
    """Report one ring of ranks that wait for each other, or one rank that waits for a rank that is through."""
    if not stuck:
        return
    for_ever = [s for s in stuck if s.other is None]
    if for_ever:
        yield _alone(for_ever[0])
        return
    by_rank = {s.rank: s for s in stuck}
    at = stuck[0]
    chain: list[Stuck] = []
    while at not in chain:
        chain.append(at)
        at = by_rank.get(at.waits_for, at)
    ring = chain[chain.index(at) :]
    parts = [f"rank {s.rank} waits in {describe(s.call)} for rank {s.waits_for}" for s in ring]
    messages = all(s.call.kind in ("send", "recv") for s in ring)
    fix = (
        "Let one side receive first, or start both with dist.batch_isend_irecv."
        if messages
        else _HANGS + "bring the calls into one order."
    )
    yield _finding("TW401", f"Ranks wait for each other: {'; '.join(parts)}.", fix, [(s.rank, s.call) for s in ring],
                   severity="error")  # fmt: skip


def _alone(s: Stuck) -> Finding:
    if s.call.kind in ("send", "recv"):
        verb = "sends to" if s.call.kind == "send" else "receives from"
        other = "receives" if s.call.kind == "send" else "sends"
        message = f"Rank {s.rank} {verb} rank {s.waits_for} at {_place(s.call)}, and rank {s.waits_for} never {other}."
        fix = "Every send needs a receive on its peer, and the other way round."
        return _finding("TW405", message, fix, [(s.rank, s.call)], severity="error")
    last = "it never uses the group" if s.last is None else f"its last on the group is {describe(s.last)}"
    message = (
        f"Rank {s.rank} waits in {describe(s.call)} on group {s.call.group.name!r} for rank {s.waits_for}, which never "
        f"makes this call: {last}; {_calls(s.matched)} on it agreed before."
    )
    fix = _HANGS + "move this call out of what only some ranks run."
    places = [(s.rank, s.call), *([(s.waits_for, s.last)] if s.last is not None else [])]
    return _finding("TW401", message, fix, places, severity="error")


def _unreceived(u: Unreceived) -> Finding:
    messages = "a message" if u.num_messages == 1 else f"{u.num_messages:,} messages"
    peer = u.call.collective.peer
    message = f"Rank {u.rank} sends rank {peer} {messages} at {_place(u.call)} that rank {peer} never receives."
    return _finding("TW405", message, "Every send needs a receive on its peer.", [(u.rank, u.call)], severity="error")


def describe(call: Call) -> str:
    """Name a call: kind, size, dtype, line.

    The shape is that of what the rank puts in.
    """
    collective = call.collective
    shape = next(iter(call.shapes_in or call.shapes_out), None)
    what = "" if shape is None else f" of {collective.dtype}{list(shape)}"
    if call.kind == "all_gather" and call.shapes_out:
        what += f" into {sum(_elements(s) for s in call.shapes_out):,} elements"
    if collective.reduce_op and collective.reduce_op.lower() != "sum":
        what += f" ({collective.reduce_op})"
    if call.kind in ("broadcast", "reduce", "gather", "scatter") and collective.peer is not None:
        what += f" with root {collective.peer}"
    size = f" ({format_bytes(call.payload_bytes)})" if call.payload_bytes else ""
    return f"{call.kind}{what}{size} at {_place(call)}"


def _elements(shape: tuple[int, ...]) -> int:
    total = 1
    for n in shape:
        total *= n
    return total


def _place(call: Call) -> str:
    module = f" in module {call.module}" if call.module else ""
    return f"{call.source}{module}"


def _calls(num: int) -> str:
    return "1 call" if num == 1 else f"{num:,} calls"


def _finding(
    code: str, message: str, fix: str, places: Sequence[tuple[int, Call]], *, severity: str = "warning"
) -> Finding:
    first = places[0][1].source
    return Finding(
        code=code, severity=severity, message=message, path=first.path or None, line=first.line or None, fix=fix,
        ranks=[RankPlace(rank=rank, path=c.source.path or None, line=c.source.line or None) for rank, c in places],
    )  # fmt: skip


# --- groups -------------------------------------------------------------------------------------------------------


def _group_order(tapes: Mapping[int, Tape]) -> Iterator[Finding]:
    """Compare the order in which ranks make groups; ``new_group`` is a collective of the whole world."""
    made = {rank: made_groups(tape) for rank, tape in tapes.items() if "groups_created" in tape.notes}
    if len(made) < 2:
        return
    first = min(made)
    for rank, groups in sorted(made.items()):
        for number, (mine, other) in enumerate(zip(made[first], groups, strict=False)):
            if list(mine["ranks"]) != list(other["ranks"]):
                yield _order(first, rank, mine, other, number)
                return
        if len(groups) != len(made[first]):
            shorter, longer = (rank, first) if len(groups) < len(made[first]) else (first, rank)
            if seen_to(tapes[shorter]) == -1:
                continue
            extra = made[longer][len(made[shorter])]
            yield Finding(
                code="TW404", severity="error", path=extra.get("path"), line=extra.get("line"),
                message=f"Rank {longer} makes group {rank_list(extra['ranks'])} at {_where(extra)}, and rank {shorter} "
                "never does: dist.new_group waits for every rank of the world, members or not.",
                fix=_SAME_GROUPS, ranks=[_rank_place(longer, extra)],
            )  # fmt: skip
            return


_SAME_GROUPS = "Let every rank make all groups in the same order, or use torch.distributed.init_device_mesh."


def _order(first: int, second: int, mine: Mapping[str, Any], other: Mapping[str, Any], number: int) -> Finding:
    before = f"group {number + 1}" if number else "the first group"
    return Finding(
        code="TW404", severity="error", path=mine.get("path"), line=mine.get("line"),
        message=f"Ranks make their groups in different order: as {before}, rank {first} makes "
        f"{rank_list(mine['ranks'])} at {_where(mine)}, rank {second} makes {rank_list(other['ranks'])} at "
        f"{_where(other)}; dist.new_group waits for every rank of the world.",
        fix=_SAME_GROUPS, ranks=[_rank_place(first, mine), _rank_place(second, other)],
    )  # fmt: skip


def made_groups(tape: Tape) -> list[Mapping[str, Any]]:
    """List the groups that the script made by hand with all ranks of the world taking part, in order."""
    return [note for note in tape.notes.get("groups_created") or () if not note.get("local")]


def _where(note: Mapping[str, Any]) -> str:
    return f"{note.get('path') or '?'}:{note.get('line')}"


def _rank_place(rank: int, note: Mapping[str, Any]) -> RankPlace:
    return RankPlace(rank=rank, path=note.get("path"), line=note.get("line"))


# --- buffers, parameters, devices ----------------------------------------------------------------------------------


def _buffers(tapes: Mapping[int, Tape]) -> Iterator[Finding]:
    """Buffers that change in forward: they diverge unless they are broadcast; batch statistics are each rank's own."""
    tape = tapes[min(tapes)]
    for note in tape.notes.get("ddp") or ():
        changed = note.get("buffers") or []
        if not changed:
            continue
        names = _names(changed)
        if not note.get("broadcast_buffers", True):
            yield Finding(
                code="TW406", severity="warning", path=note.get("path"), line=note.get("line"),
                message=f"Buffers of {note.get('module') or 'the model'} change in forward and are not broadcast, so "
                f"every rank ends with its own: {names}.",
                fix="Leave broadcast_buffers=True, or make them equal before a checkpoint or an evaluation.",
            )  # fmt: skip
        elif any(_BATCH_NORM.search(s.name) for s in tape.signatures) and any("running_" in name for name in changed):
            yield Finding(
                code="TW412", severity="note", path=note.get("path"), line=note.get("line"),
                message="BatchNorm normalises with the statistics of each rank's own part of the batch, and the "
                f"running ones are those of rank 0: {names}.",
                fix="If a rank's batch is small: torch.nn.SyncBatchNorm.convert_sync_batchnorm(model) before DDP.",
            )  # fmt: skip


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")


def _unused(tapes: Mapping[int, Tape], shape: ClusterShape) -> Iterator[Finding]:
    """Parameters that no rank updates; silent if ranks update different ones and not all were rehearsed."""
    known = {rank: tape for rank, tape in tapes.items() if "unused_parameters" in tape.notes}
    if len(known) < len(tapes):
        return
    unused = {rank: {str(u["name"]): u for u in tape.notes["unused_parameters"]} for rank, tape in known.items()}
    if len(tapes) < shape.world_size and len({tuple(sorted(names)) for names in unused.values()}) > 1:
        return
    by_why: dict[str, list[str]] = {}
    for of in unused.values():
        for name, note in of.items():
            names = by_why.setdefault(str(note.get("why") or "never updated"), [])
            if name not in names and not any(_updates(tapes[r], name, unused[r]) for r in tapes):
                names.append(name)
    for why, names in by_why.items():
        if names:
            yield Finding(
                code="TW407", severity="warning", path=None, line=None,
                message=f"No rank updates {len(names):,} trainable parameter{'s' if len(names) > 1 else ''} ({why}): "
                f"{_names(names)}.",
                fix="Use them in forward, give them to the optimizer, or set requires_grad=False.",
            )  # fmt: skip


def _unaveraged(tapes: Mapping[int, Tape], calls: Mapping[int, Sequence[Call]]) -> Iterator[Finding]:
    """Parameters beside those under DDP whose gradients nobody averages: every rank goes its own way."""
    rank = min(tapes)
    outside = tapes[rank].notes.get("unaveraged_parameters") or ()
    buckets = {size for note in tapes[rank].notes.get("ddp") or () for size in note.get("buckets") or ()}
    # Anything that is not one of DDP's buckets, or of its broadcasts in forward, may be the script's own averaging.
    own = [c for c in calls[rank] if c.step > 1 and not (c.kind == "broadcast" and c.phase in ("data", "forward"))]
    if not outside or len(tapes) < 2 or any(c.phase != "backward" or c.payload_bytes not in buckets for c in own):
        return
    names = [str(note.get("name") or note.get("shape")) for note in outside]
    yield Finding(
        code="TW413", severity="warning", path=None, line=None,
        message=f"{len(names):,} trained parameter{'s' if len(names) > 1 else ''} outside of what DDP wraps: every "
        f"rank updates its own copy by its own gradient, and the copies drift apart: {_names(names)}.",
        fix="Put them into a module that is wrapped by DistributedDataParallel, or all-reduce their gradients.",
    )  # fmt: skip


def _updates(tape: Tape, name: str, unused: Mapping[str, Any]) -> bool:
    """Whether a rank updates a parameter; one without a list of those that it does updates all but the unused."""
    updated = tape.notes.get("updated_parameters")
    return name not in unused if updated is None else name in updated


def _same_device(tapes: Mapping[int, Tape], shape: ClusterShape) -> Iterator[Finding]:
    """Ranks of one node that all train on the same GPU."""
    node = [r for r in sorted(tapes) if r // shape.gpus_per_node == 0 and tapes[r].device.startswith("cuda")]
    second = next((r for r in node if r and tapes[r].device == tapes[node[0]].device and tapes[r].num_ops), None)
    if shape.gpus_per_node < 2 or second is None or not tapes[node[0]].num_ops or node[0] == second:
        return
    nccl = any("nccl" in group.backend for group in tapes[second].groups)
    device = tapes[second].device
    yield Finding(
        code="TW410", severity="error" if nccl else "warning", path=None, line=None,
        message=f"Ranks {node[0]} and {second} of one node both train on {device}"
        + ("; NCCL refuses two ranks on one GPU." if nccl else ": the other GPUs of the node stay idle."),
        fix='Choose the GPU by the local rank: torch.cuda.set_device(int(os.environ["LOCAL_RANK"])) before anything '
        "is moved to the GPU.",
    )  # fmt: skip
