"""What one rank sends in a step, by kind and link, by line and module; and what can run beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import get_args

from trainworthy.formulas.collectives import Kind as FormulaKind
from trainworthy.formulas.collectives import ring_bytes_sent
from trainworthy.inspect.cluster import CallSite, ClusterShape, Communication, GroupUse, Traffic
from trainworthy.inspect.collectives import Call, calls_of, computed_beside
from trainworthy.inspect.links import Link, link_of, link_of_call
from trainworthy.inspect.summary import measured_step
from trainworthy.tape.record import COLLECTIVE_KINDS, Tape

_FORMULAS: dict[str, FormulaKind] = {kind: kind for kind in get_args(FormulaKind) if kind in COLLECTIVE_KINDS}


def communication(tape: Tape, shape: ClusterShape, *, calls: Sequence[Call] | None = None) -> Communication:
    """Sum the calls of the measured step; with ``calls``, of those of that step among them."""
    step = measured_step(tape)
    found = calls_of(tape) if calls is None else calls
    priced = [_Priced(call, shape) for call in found if call.step == step]
    return Communication(
        traffic=tuple(_traffic(priced)), sites=tuple(_sites(priced)), groups=tuple(_groups(tape, shape, priced))
    )


def wire_bytes(call: Call, *, rank: int) -> int:
    """Count the bytes that ``rank`` sends for a call, in a ring or directly to its peer."""
    collective, ranks = call.collective, call.group.ranks
    if collective.kind == "send":
        return collective.bytes_in
    kind = _FORMULAS.get(collective.kind)
    if kind is None or len(ranks) < 2 or rank not in ranks:
        return 0
    payload, num = _payload_bytes(call, rank=rank), len(ranks)
    root = ranks.index(collective.peer) if collective.peer in ranks else 0
    if kind != "all_reduce" and payload % num:
        # Pieces of different sizes: what a ring moves on average; only the sizes of this rank are known.
        payload += num - payload % num
    return ring_bytes_sent(kind=kind, payload_bytes=payload, ranks=num, rank=ranks.index(rank), root=root)


def _payload_bytes(call: Call, *, rank: int) -> int:
    """Return the size that the formulas speak of, from what this rank puts in and gets out."""
    collective, num = call.collective, len(call.group.ranks)
    if collective.kind == "gather":
        return max(collective.bytes_in * num, collective.bytes_out)
    if collective.kind == "scatter":
        return max(collective.bytes_in, collective.bytes_out * num)
    if collective.kind == "all_gather":
        return collective.bytes_out
    if collective.kind in ("reduce_scatter", "all_to_all", "all_reduce", "reduce"):
        return collective.bytes_in
    return max(collective.bytes_in, collective.bytes_out)


class _Priced:
    """A call with what it puts on which links."""

    def __init__(self, call: Call, shape: ClusterShape) -> None:
        self.call = call
        self.link: Link = link_of_call(
            call.collective, call.group.ranks, rank=shape.rank, gpus_per_node=shape.gpus_per_node
        )
        self.wire = wire_bytes(call, rank=shape.rank)
        self.passed = call.collective.bytes_out if call.kind == "recv" else self.wire
        self.between = self.wire * self.link.hops_between // self.link.hops if self.link.hops else 0


def _grouped(priced: Iterable[_Priced], key: Callable[[_Priced], object]) -> Iterable[list[_Priced]]:
    groups: dict[object, list[_Priced]] = {}
    for each in priced:
        groups.setdefault(key(each), []).append(each)
    return groups.values()


def _traffic(priced: list[_Priced]) -> list[Traffic]:
    rows = [
        Traffic(
            kind=same[0].call.kind, group=same[0].call.collective.group, link=same[0].link, calls=len(same),
            payload_bytes=sum(p.call.payload_bytes for p in same), wire_bytes=sum(p.wire for p in same),
            wire_between_bytes=sum(p.between for p in same), largest_bytes=max(p.call.payload_bytes for p in same),
            async_calls=sum(p.call.collective.is_async for p in same),
            exposed_calls=sum(p.call.is_exposed for p in same),
            hidden_calls=sum(p.call.ended is not None and not p.call.is_exposed for p in same),
        )
        for same in _grouped(priced, lambda p: (p.call.kind, p.call.collective.group, p.link))
    ]  # fmt: skip
    return sorted(rows, key=lambda t: (-t.wire_bytes, -t.payload_bytes))


def _sites(priced: list[_Priced]) -> list[CallSite]:
    def key(p: _Priced) -> object:
        call = p.call
        return (call.kind, call.collective.group, call.source, call.template, call.phase, call.wait_source)

    rows = []
    for same in _grouped(priced, key):
        first = same[0].call
        beside = computed_beside(p.call for p in same)
        rows.append(
            CallSite(
                kind=first.kind, group=first.collective.group, source=first.source, module=first.template,
                phase=first.phase, calls=len(same), payload_bytes=sum(p.call.payload_bytes for p in same),
                wire_bytes=sum(p.wire for p in same), largest_bytes=max(p.call.payload_bytes for p in same),
                async_calls=sum(p.call.collective.is_async for p in same),
                exposed_calls=sum(p.call.is_exposed for p in same),
                exposed_bytes=sum(p.passed for p in same if p.call.is_exposed), waited_at=first.wait_source,
                meanwhile_flops=None if beside is None else beside.flops,
                meanwhile_bytes=None if beside is None else beside.moved_bytes,
            )
        )  # fmt: skip
    return sorted(rows, key=lambda s: (-s.wire_bytes, -s.payload_bytes))


def _groups(tape: Tape, shape: ClusterShape, priced: list[_Priced]) -> list[GroupUse]:
    used: dict[int, list[_Priced]] = {}
    for each in priced:
        used.setdefault(each.call.collective.group, []).append(each)
    return [
        GroupUse(
            number=number, name=group.name, ranks=group.ranks, backend=group.backend,
            link=link_of(group.ranks, gpus_per_node=shape.gpus_per_node), calls=len(used.get(number, ())),
            payload_bytes=sum(p.call.payload_bytes for p in used.get(number, ())),
            wire_bytes=sum(p.wire for p in used.get(number, ())),
        )
        for number, group in enumerate(tape.groups)
    ]  # fmt: skip
