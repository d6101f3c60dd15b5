"""Do the ranks of a process group do the same, in the same order?

Before each collective, a rank tells its neighbour what it is about to do, and hears what its other neighbour does in
the same turn (see ``boards.py``). Two that differ are told before the collective begins: afterwards there would be
wrong numbers, or no end. Nothing is claimed about a neighbour that says nothing (it may be busy): a rank waits for it a
moment at first, and then goes on. What DistributedDataParallel does within C++ is told by two events of
its own, buffers before a forward pass and gradients in a backward pass.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import distributed as dist
from torch import nn

from trainworthy.check.live.boards import Board
from trainworthy.check.live.facts_setup import CollectiveMismatch
from trainworthy.check.live.turns import Turn, describe, difference, parted, place_of
from trainworthy.check.live.watch import Watch

# The names under which collectives reach a process group, in this and in earlier versions of torch.
SEAMS = {
    "allreduce": "all_reduce", "allreduce_coalesced": "all_reduce", "broadcast": "broadcast", "reduce": "reduce",
    "allgather": "all_gather", "allgather_coalesced": "all_gather", "_allgather_base": "all_gather_into_tensor",
    "all_gather_single": "all_gather_into_tensor", "allgather_into_tensor_coalesced": "all_gather_into_tensor",
    "all_gather_single_coalesced": "all_gather_into_tensor", "gather": "gather", "scatter": "scatter",
    "reduce_scatter": "reduce_scatter", "_reduce_scatter_base": "reduce_scatter_tensor",
    "reduce_scatter_single": "reduce_scatter_tensor", "reduce_scatter_tensor_coalesced": "reduce_scatter_tensor",
    "reduce_scatter_single_coalesced": "reduce_scatter_tensor", "alltoall": "all_to_all",
    "alltoall_base": "all_to_all_single", "all_to_all_single": "all_to_all_single", "barrier": "barrier",
}  # fmt: skip
_MAX_TURNS = 4000
_PATIENCE_S = 10.0  # in all, over the whole look: a rank that is merely slow costs no more
_FIRST_PATIENCE_S = 2.0  # until a first answer: perhaps the neighbour has no guard
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 2e-5, 1e-2
_TRAIL = 8
_sessions = 0


class CollectiveWatch:
    """Notices the collectives that Python code starts."""

    compiled_code_sees_it = False

    def __init__(self, watch: Watch) -> None:
        global _sessions
        _sessions += 1  # ranks run the same program: their guards have the same number
        self.watch = watch
        self.on_mismatch: Callable[[], None] = lambda: None
        self.share_memory = True
        self._session = _sessions
        self._patience_s = _PATIENCE_S
        self._answered = False
        self._turns: dict[str, int] = {}
        self._trails: dict[str, tuple[str, ...]] = {}
        self._board: Board | None = None
        self._open: list[tuple[Turn, str, int]] = []  # own turn, as it was told, the rank that is to be heard
        self._lock = threading.RLock()
        self._wrapped: list[Any] = []  # DDP models that went forward since the last backward pass

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Replace the methods of ``ProcessGroup`` while the context is open."""
        if not dist.is_available():
            yield
            return
        group: Any = dist.ProcessGroup
        before = {name: group.__dict__[name] for name in SEAMS if name in group.__dict__}
        for name, method in before.items():
            setattr(group, name, self._noticing(method, SEAMS[name]))
        try:
            yield
        finally:
            for name, method in before.items():
                setattr(group, name, method)

    def _noticing(self, method: Any, operation: str) -> Any:
        def noticed(group: Any, *args: Any, **kwargs: Any) -> Any:
            if self.watch.looking and not self.watch.busy:
                self._comes(group, lambda ranks: describe(operation, args, kwargs, ranks, dist.get_rank()), waits=True)
            return method.__get__(group)(*args, **kwargs)

        return noticed

    # --- DistributedDataParallel --------------------------------------------------------------------

    def module_called(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Tell of the buffers that a data-parallel model is about to broadcast."""
        if type(module).__name__ != "DistributedDataParallel" or _joins(module):
            return
        model: Any = module
        if model.will_sync_module_buffers():
            self._comes(model.process_group, lambda ranks: Turn("buffers of DistributedDataParallel"), waits=True)
        if torch.is_grad_enabled() and model.require_backward_grad_sync:
            self._wrapped = [*self._wrapped, model]

    def backward_begins(self) -> None:
        """Tell of the gradients that data-parallel models are about to average."""
        for model in self._wrapped:
            self._comes(model.process_group, lambda ranks: Turn("gradients of DistributedDataParallel"), waits=True)
        self._wrapped = []

    # --- turns ------------------------------------------------------------------------------------

    def _comes(self, group: Any, tell: Callable[[list[int]], Turn], *, waits: bool) -> None:
        with self._lock, self.watch.own_work():
            found = self.watch.attempt("collectives", self._turn, group, tell, waits)
        if found is not None:
            self.watch.facts.collectives.append(found)
            self.on_mismatch()

    def _turn(self, group: Any, tell: Callable[[list[int]], Turn], waits: bool) -> CollectiveMismatch | None:
        ranks = dist.get_process_group_ranks(group)
        number = self._turns.get(group.group_name, 0)
        if len(ranks) < 2 or dist.get_rank() not in ranks or number >= _MAX_TURNS:
            return None
        self._turns[group.group_name] = number + 1
        place = self.watch.place()
        trail = (*self._trails.get(group.group_name, ()), f"{place.path}:{place.line}")[-_TRAIL:]
        self._trails[group.group_name] = trail
        turn = tell(ranks)._replace(group=str(group.group_name), number=number, place=place, trail=trail)
        at = ranks.index(dist.get_rank())
        text = json.dumps(turn.told())
        self._the_board().tell(_key(turn), text, reader=ranks[at - 1])
        self._open.append((turn, text, ranks[(at + 1) % len(ranks)]))
        return self._look(waits=waits)

    def _look(self, *, waits: bool) -> CollectiveMismatch | None:
        """Compare the open turns with what neighbours have told by now."""
        patience_s = self._patience_s if self._answered else min(self._patience_s, _FIRST_PATIENCE_S)
        began = time.monotonic()
        board, waited_s = self._the_board(), 0.0
        while self._open:
            still = []
            for turn, text, rank in self._open:
                told = board.hear(_key(turn), writer=rank)
                if told is None:
                    still.append((turn, text, rank))
                    continue
                self._answered = True
                if told == text and not turn.sends and not turn.receives:
                    continue
                found = _compare(turn, rank, Turn.read(json.loads(told)))
                if found is not None:
                    self._open.clear()
                    return found
            self._open = still[-64:]
            waited_s = time.monotonic() - began
            if not waits or not still or waited_s >= patience_s:
                break
            time.sleep(min(max(waited_s / 8, _SHORTEST_PAUSE_S), _LONGEST_PAUSE_S))
        self._patience_s -= waited_s
        return None

    def _the_board(self) -> Board:
        if self._board is None:
            store = dist.distributed_c10d._get_default_store()
            prefix = f"trainworthy/collectives/{self._session}"
            self._board = Board(store, prefix, dist.get_rank(), shared=self.share_memory)
        return self._board

    def finish(self) -> None:
        """Let go of what was shared with other ranks."""
        with self._lock:
            if self._board is not None:
                self._board.close()
            self._board = None


def _key(turn: Turn) -> str:
    return f"{turn.group}/{turn.number}"


def _compare(mine: Turn, rank: int, other: Turn) -> CollectiveMismatch | None:
    me = dist.get_rank()
    what = difference(mine, other, me, rank)
    if what is None or mine.place is None:
        return None
    return CollectiveMismatch(
        place=mine.place, group=mine.group, number=mine.number + 1, what=what, rank=me, mine=mine.words(rank),
        other_rank=rank, other=other.words(me), other_place=place_of(other.trail[-1]) if other.trail else None,
        parted=parted(mine, other),
    )  # fmt: skip


def _joins(model: Any) -> bool:
    """Tell whether a model runs under ``join()``, where ranks may have different numbers of steps."""
    return bool(getattr(getattr(model, "_join_config", None), "enable", False))
