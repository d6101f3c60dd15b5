"""Let the rehearsed ranks meet in their collectives, as they would on a real cluster, and see whether they get stuck.

Each rank goes through its calls in order. A call that the rank waits for is left only when every rehearsed member of
the group has issued its own; ranks that were not rehearsed are taken to be always there. So is a rank that ended before
its script did (an error, a limit, enough steps seen): the others are compared with it only up to where it went.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from operator import itemgetter
from typing import NamedTuple

from trainworthy.inspect.collectives import POINT_TO_POINT, Call
from trainworthy.tape.record import ProcessGroup

Key = tuple[object, ...]  # a process group, the same for all of its ranks, or the channel from one rank to another


@dataclass(frozen=True, slots=True, kw_only=True)
class RankCalls:
    """The calls of one rank. After the end of step ``seen_to`` it may have been stopped; None: it went to its end.

    ``stopped_at`` is the line (path and number) at which it was stopped because enough steps had been seen.
    """

    rank: int
    calls: Sequence[Call]
    groups: Sequence[ProcessGroup]
    seen_to: int | None
    stopped_at: tuple[str, int] | None = None

    def would_have_made(self, call: Call, other: RankCalls) -> bool:
        """Whether the rank, having made all its calls, would have made one like ``call`` of ``other`` if it ever did.

        Ranks that were stopped at the same line both went past all that lies before; the line itself may be half done.
        """
        if self.seen_to is None or call.step <= self.seen_to:
            return True
        is_same_stop = self.stopped_at is not None and self.stopped_at == other.stopped_at
        return is_same_stop and (call.source.path, call.source.line) != self.stopped_at


class Mismatch(NamedTuple):
    """Two ranks meet in calls that do not go together; ``matched`` calls on the group did before."""

    first: int
    second: int
    call: Call
    other: Call
    what: str
    matched: int


class Stuck(NamedTuple):
    """A rank waits in ``call`` for ``waits_for``, which waits in ``other``, or (None) never makes such a call.

    ``last`` is the last call that the other made on the group.
    """

    rank: int
    call: Call
    waits_for: int
    other: Call | None
    matched: int
    last: Call | None


class Unreceived(NamedTuple):
    """A rank sent what its peer never receives; ``num_messages`` messages of that line."""

    rank: int
    call: Call
    num_messages: int


@dataclass(slots=True)
class Meeting:
    """How it ended: at most one mismatch, or the ranks that are stuck; messages that were never received."""

    mismatch: Mismatch | None = None
    stuck: list[Stuck] = field(default_factory=list)
    unreceived: list[Unreceived] = field(default_factory=list)


def meet(ranks: Mapping[int, RankCalls]) -> Meeting:
    """Let ``ranks`` meet."""
    return _Cluster(ranks).run()


class _Event(NamedTuple):
    """A rank issues call ``number`` or waits for it."""

    number: int
    is_wait: bool


class _Cluster:
    def __init__(self, ranks: Mapping[int, RankCalls]) -> None:
        self.ranks = ranks
        self._events = {rank: list(_events(of.calls)) for rank, of in ranks.items()}
        self._keys = {rank: _keys(of) for rank, of in ranks.items()}
        self._at = dict.fromkeys(ranks, 0)
        self._issued = dict.fromkeys(ranks, 0)
        # Calls by group and rank, in order, and the place of each call among those of its rank.
        self._arrived: dict[Key, dict[int, list[Call]]] = defaultdict(lambda: defaultdict(list))
        self._place: dict[int, list[int]] = {rank: [] for rank in ranks}
        # All that a rank ever calls on a group, whether it comes to that or not.
        self._ever: dict[int, dict[Key, list[Call]]] = {rank: defaultdict(list) for rank in ranks}
        for rank, of in ranks.items():
            for key, call in zip(self._keys[rank], of.calls, strict=True):
                self._ever[rank][key].append(call)

    def run(self) -> Meeting:
        moved = True
        while moved:
            moved = False
            for rank in self.ranks:
                while self._at[rank] < len(self._events[rank]):
                    mismatch = self._issue(rank)
                    if mismatch is not None:
                        return Meeting(mismatch=mismatch)
                    if self._waits_for(rank) is not None:
                        break
                    self._at[rank] += 1
                    moved = True
        stuck = list(self._stuck())
        return Meeting(stuck=stuck, unreceived=[] if stuck else list(self._unreceived()))

    # --- arriving ---------------------------------------------------------------------------------

    def _issue(self, rank: int) -> Mismatch | None:
        """Arrive with the call of the current event, if it is one and was not issued before."""
        event = self._events[rank][self._at[rank]]
        if event.is_wait or event.number < self._issued[rank]:
            return None
        self._issued[rank] += 1
        call, key = self.ranks[rank].calls[event.number], self._keys[rank][event.number]
        mine = self._arrived[key][rank]
        place = len(mine)
        mine.append(call)
        self._place[rank].append(place)
        met = [calls[place] for other, calls in self._arrived[key].items() if other != rank and len(calls) > place]
        return self._mismatch(key, place) if any(difference(call, other) for other in met) else None

    def _mismatch(self, key: Key, place: int) -> Mismatch:
        """Name the lowest two ranks that disagree in their calls number ``place`` on a group."""
        calls = [(rank, ever[key][place]) for rank, ever in self._ever.items() if len(ever[key]) > place]
        for (first, call), (second, other) in combinations(sorted(calls, key=itemgetter(0)), 2):
            what = difference(call, other)
            if what is not None:
                return Mismatch(first, second, call, other, what, place)
        raise AssertionError("two calls that met differ")

    # --- waiting ----------------------------------------------------------------------------------

    def _waits_for(self, rank: int) -> int | None:
        """Return a rank that the current event waits for; None if it need not wait."""
        event = self._events[rank][self._at[rank]]
        call = self.ranks[rank].calls[event.number]
        if call.collective.is_async and not event.is_wait:
            return None
        return self._missing(rank, event.number)

    def _missing(self, rank: int, number: int) -> int | None:
        call, key, place = self.ranks[rank].calls[number], self._keys[rank][number], self._place[rank][number]
        if call.kind in POINT_TO_POINT:
            peer = call.collective.peer
            members: Sequence[int] = () if peer is None else (peer,)
        else:
            members = call.group.ranks
        for member in members:
            if member == rank or member not in self.ranks or len(self._arrived[key][member]) > place:
                continue
            is_gone = self._at[member] >= len(self._events[member])
            if not is_gone or self.ranks[member].would_have_made(call, self.ranks[rank]):
                return member
        return None

    def _stuck(self) -> Iterator[Stuck]:
        """List the ranks that wait for one that waits itself, or that is through."""
        for rank in self.ranks:
            if self._at[rank] >= len(self._events[rank]):
                continue
            member = self._waits_for(rank)
            if member is None:
                continue
            number = self._events[rank][self._at[rank]].number
            other = None
            if len(self._ever[member][self._keys[rank][number]]) > self._place[rank][number]:
                other = self.ranks[member].calls[self._events[member][self._at[member]].number]
            made = self._arrived[self._keys[rank][number]][member]
            last = made[-1] if made else None
            yield Stuck(rank, self.ranks[rank].calls[number], member, other, self._place[rank][number], last)

    def _unreceived(self) -> Iterator[Unreceived]:
        for rank, of in self.ranks.items():
            left: dict[object, list[Call]] = {}
            for number, call in enumerate(of.calls):
                peer = call.collective.peer
                if call.kind != "send" or peer is None or peer not in self.ranks:
                    continue
                if len(self._arrived[self._keys[rank][number]][peer]) > self._place[rank][number]:
                    continue
                if self.ranks[peer].would_have_made(call, of):
                    left.setdefault((call.source, peer), []).append(call)
            for calls in left.values():
                yield Unreceived(rank, calls[0], len(calls))


def _events(calls: Sequence[Call]) -> Iterator[_Event]:
    """Order issues and waits as the rank ran them."""
    order = [(call.index, 0, number) for number, call in enumerate(calls)]
    order += [(call.wait_index, 1, number) for number, call in enumerate(calls) if call.wait_index is not None]
    for _, is_wait, number in sorted(order):
        yield _Event(number, bool(is_wait))


def _keys(of: RankCalls) -> list[Key]:
    """Name the group of each call in a way that all its ranks share: its ranks, and which of several such groups.

    Two groups of the same ranks are told apart by the order in which the rank made them (their numbers).
    """
    numbers: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for number, group in enumerate(of.groups):
        numbers[group.ranks].append(number)
    keys: list[Key] = []
    for call in of.calls:
        ranks, peer = call.group.ranks, call.collective.peer
        which = numbers[ranks].index(call.collective.group)
        if call.kind in POINT_TO_POINT:
            ends = (of.rank, peer) if call.kind == "send" else (peer, of.rank)
            keys.append((ranks, which, *ends))
        else:
            keys.append((ranks, which))
    return keys


# --- do two calls go together? ------------------------------------------------------------------------------------


def difference(a: Call, b: Call) -> str | None:
    """Say in what two calls that meet differ so that they cannot work together; None if in nothing that matters.

    The sizes of all-to-alls, gathers and scatters may differ between ranks, and those of pickled objects do.
    """
    one, two = a.collective, b.collective
    if one.kind in POINT_TO_POINT and two.kind in POINT_TO_POINT:
        sizes = {one.kind: one.bytes_in if one.kind == "send" else one.bytes_out}
        sizes[two.kind] = two.bytes_in if two.kind == "send" else two.bytes_out
        if len(sizes) == 2 and sizes["send"] != sizes["recv"] and not _is_of_objects(a, b):
            return "size"
        return "dtype" if one.dtype != two.dtype else None
    if one.kind != two.kind:
        return "kind"
    if one.kind == "barrier":
        return None
    if one.dtype != two.dtype and not _is_of_objects(a, b):
        return "dtype"
    if one.reduce_op != two.reduce_op:
        return "reduction"
    if one.kind in ("broadcast", "reduce", "gather", "scatter") and one.peer != two.peer:
        return "root"
    if _compared_bytes(a) != _compared_bytes(b) and not _is_of_objects(a, b):
        return "size"
    return None


def _is_of_objects(a: Call, b: Call) -> bool:
    """Tell whether pickled objects travel: bytes, padded by torch to a size that one rank alone cannot know."""
    return "object" in a.name or "object" in b.name or a.collective.dtype == b.collective.dtype == "uint8"


def _compared_bytes(call: Call) -> int | None:
    """Return the size that has to be the same on every rank; None if it may differ.

    Of an all-gather it is the whole result: pieces of different sizes work if every rank knows of them.
    """
    collective = call.collective
    if collective.kind in ("all_reduce", "reduce", "reduce_scatter"):
        return collective.bytes_in
    if collective.kind == "broadcast":
        return max(collective.bytes_in, collective.bytes_out)
    if collective.kind == "all_gather":
        return collective.bytes_out
    return None
