"""The collectives of one rank in the order it issued them, and how two such sequences differ."""

from __future__ import annotations

from itertools import zip_longest
from typing import NamedTuple

from trainworthy.tape.record import Tape


class Call(NamedTuple):
    """One collective, send or receive, as one rank issues it; ``ranks`` are global."""

    kind: str
    ranks: tuple[int, ...]
    bytes_in: int
    bytes_out: int
    dtype: str
    reduce_op: str | None
    peer: int | None


def collective_sequence(tape: Tape) -> list[Call]:
    """List what ``tape`` holds of collectives, op by op; groups are told by their ranks, not by number."""
    found = (op.collective for op in tape.ops)
    return [
        Call(c.kind, tape.groups[c.group].ranks, c.bytes_in, c.bytes_out, c.dtype, c.reduce_op, c.peer)
        for c in found
        if c is not None
    ]


def first_difference(real: list[Call], virtual: list[Call]) -> str | None:
    """Say where two sequences part, with the calls before it; ``None`` if they are equal."""
    for i, (a, b) in enumerate(zip_longest(real, virtual)):
        if a != b:
            before = "".join(f"\n  {j:3d} both     {real[j]}" for j in range(max(0, i - 3), i))
            here = f"\n  {i:3d} real     {a}\n  {i:3d} virtual  {b}"
            return f"call {i} of {len(real)} real, {len(virtual)} virtual{before}{here}"
    return None


def disagreement(sequences: list[list[Call]]) -> str | None:
    """Say where ranks disagree about the collectives of a group they share; ``None`` if nowhere.

    This is a law of every run that ended: all ranks of a group issue the same kinds in the same order.
    Sends and receives are left out; their partners are matched by ``unmatched``.
    """
    groups = sorted({call.ranks for calls in sequences for call in calls if call.kind not in {"send", "recv"}})
    for ranks in groups:
        kinds = {
            r: [c.kind for c in sequences[r] if c.ranks == ranks and c.kind not in {"send", "recv"}] for r in ranks
        }
        one = kinds[ranks[0]]
        for rank, other in kinds.items():
            if other != one:
                return f"group {ranks}: rank {ranks[0]} issued {one}, rank {rank} issued {other}"
    return None


def unmatched(sequences: list[list[Call]]) -> str | None:
    """Name the first send without its receive, or the reverse; ``None`` if every one has its partner."""
    for rank, calls in enumerate(sequences):
        for peer in range(len(sequences)):
            sent = [c.bytes_in for c in calls if c.kind == "send" and c.peer == peer]
            received = [c.bytes_out for c in sequences[peer] if c.kind == "recv" and c.peer == rank]
            if sent != received:
                return f"rank {rank} sent {sent} bytes to rank {peer}, which received {received}"
    return None
