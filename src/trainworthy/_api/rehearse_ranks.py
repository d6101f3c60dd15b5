"""Several ranks of a virtual cluster: which ones, two at a time, until no tape points to another."""

from __future__ import annotations

import dataclasses
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, as_completed
from typing import Any, Literal

from trainworthy.errors import UsageError
from trainworthy.inspect.links import rank_list
from trainworthy.inspect.rank_choice import MOST_RANKS, first_choice, next_choice, source_files
from trainworthy.tape.record import Tape
from trainworthy.virtual.mailbox import ENDED, MAIL, scratch_of
from trainworthy.virtual.script_job import Job, Outcome
from trainworthy.virtual.script_parent import Log, Progress, run_job

_AT_A_TIME = 2  # each rank is a process that loads torch and the script
_MOST_PROCESSES = 64  # ranks that wait for others live beside those that run
_STANDSTILL_S = 3.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which ranks of which cluster to rehearse."""

    world_size: int
    gpus_per_node: int
    ranks: tuple[int, ...] | Literal["distinct"]


def make_plan(
    world_size: int | None, gpus_per_node: int | None, rank: int | None, ranks: str | Iterable[int] | None
) -> Plan | None:
    """Check what was asked for; None if it is no cluster.

    Raises:
        UsageError: If numbers make no sense, alone or together.
    """
    if world_size is None:
        for name, value in (("--rank", rank), ("--ranks", ranks), ("--gpus-per-node", gpus_per_node)):
            if value is not None:
                raise UsageError(
                    f"{name} is {value}, but of how many ranks is not said.", where=name, fix="Add --world-size N."
                )
        return None
    if world_size < 1:
        raise UsageError(
            f"A world of {world_size} ranks has none to rehearse.", where="--world-size", fix="Pass 1 or more."
        )
    node = _gpus_per_node(world_size, gpus_per_node)
    if rank is not None and ranks is not None:
        raise UsageError("Both --rank and --ranks are given.", where="--rank", fix="Pass one of them.")
    if rank is not None:
        return Plan(world_size=world_size, gpus_per_node=node, ranks=_in_world([rank], world_size, "--rank"))
    return Plan(world_size=world_size, gpus_per_node=node, ranks=_chosen(ranks, world_size))


def _gpus_per_node(world_size: int, wanted: int | None) -> int:
    node = min(world_size, 8) if wanted is None else wanted
    divisors = [n for n in range(1, min(world_size, 64) + 1) if world_size % n == 0]
    shown = ", ".join(map(str, divisors))
    if node < 1:
        raise UsageError(
            f"A node of {node} GPUs holds no rank.", where="--gpus-per-node",
            fix=f"Pass the ranks of one node: {shown}.",
        )  # fmt: skip
    if world_size > node and world_size % node:
        how = "" if wanted is not None else " (the default)"
        raise UsageError(
            f"{world_size} ranks do not fill nodes of {node} GPUs{how}.", where="--gpus-per-node",
            fix=f"Pass --gpus-per-node with one of {shown}, or another --world-size.",
        )  # fmt: skip
    return node


def _chosen(ranks: str | Iterable[int] | None, world_size: int) -> tuple[int, ...] | Literal["distinct"]:
    if ranks is None or ranks == "distinct":
        return "distinct"
    if ranks == "all":
        return tuple(range(world_size))
    if not isinstance(ranks, str):
        return _in_world(ranks, world_size, "--ranks")
    numbers: list[int] = []
    for part in ranks.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise UsageError(
                f"{part.strip()!r} is not a rank.", where="--ranks", fix="Pass distinct, all, or numbers: 0,3,8-15."
            )
        numbers += range(int(first), int(last or first) + 1)
    return _in_world(numbers, world_size, "--ranks")


def _in_world(ranks: Iterable[int], world_size: int, where: str) -> tuple[int, ...]:
    found = tuple(dict.fromkeys(ranks))
    wrong = [rank for rank in found if not 0 <= rank < world_size]
    if wrong or not found:
        what = f"There is no rank {wrong[0]}" if wrong else "No rank is named"
        raise UsageError(f"{what} in a world of {world_size}.", where=where, fix=f"Ranks are 0 to {world_size - 1}.")
    return found


@dataclasses.dataclass(slots=True, kw_only=True)
class RankTapes:
    """The tapes by rank; ``note`` says why not every rank that could differ has one."""

    tapes: dict[int, Tape]
    note: str | None = None


class RankRunner:
    """Rehearses ranks in child processes, two at a time; those that wait for another rank do not count.

    A rank that waits for a message has the rank that sends it rehearsed too, if only for that.
    """

    def __init__(
        self, job: Job, plan: Plan, tape_of: Callable[[Job, Outcome], Tape], *,
        on_progress: Progress | None, on_log: Callable[[Log], None] | None,
    ) -> None:  # fmt: skip
        self._job, self._plan, self._tape_of = job, plan, tape_of
        self._on_progress, self._on_log = on_progress, on_log
        self._stop = threading.Event()
        self._enough = threading.Event()  # no more ranks are begun
        self._lock = threading.RLock()
        self._slots = threading.Semaphore(_AT_A_TIME)
        self._futures: dict[int, Future[tuple[Tape, Log]]] = {}
        self._waiting: dict[int, float] = {}  # since when
        self._active: set[int] = set()
        self.tapes: dict[int, Tape] = {}

    def run(self) -> RankTapes:
        """Rehearse what the plan says; ``distinct`` goes on until no tape points to a rank without one."""
        plan = self._plan
        with (
            tempfile.TemporaryDirectory(prefix="trainworthy-", ignore_cleanup_errors=True) as folder,
            ThreadPoolExecutor(_MOST_PROCESSES) as pool,
        ):
            self._folder, self._pool = folder, pool
            try:
                if plan.ranks != "distinct":
                    self._run_all(plan.ranks)
                    return RankTapes(tapes=self.tapes)
                return RankTapes(tapes=self.tapes, note=self._run_distinct())
            finally:  # Ctrl-C, too: the children must not live on
                self._stop.set()
                pool.shutdown(wait=True, cancel_futures=True)

    def _run_distinct(self) -> str | None:
        plan = self._plan
        sources = source_files(self._job.target, self._job.kind)
        wanted = first_choice(sources, world_size=plan.world_size, gpus_per_node=plan.gpus_per_node)
        while wanted:
            room = MOST_RANKS - len(self.tapes)
            if room < len(wanted):
                left = f"{len(wanted) - room} more ranks may differ; pass --ranks to choose."
                self._run_all(wanted[:room])
                return f"{MOST_RANKS} ranks were rehearsed, and {left}"
            self._run_all(wanted)
            left_out = [rank for rank in wanted if rank not in self.tapes]
            if left_out:
                failed = next(rank for rank, tape in sorted(self.tapes.items()) if tape.notes.get("error"))
                return f"Rank {failed} failed; rank{'s' if len(left_out) > 1 else ''} {rank_list(left_out)} could " \
                    "differ and were not rehearsed."  # fmt: skip
            wanted = next_choice(self.tapes, world_size=plan.world_size)
        return None

    def _run_all(self, ranks: Sequence[int]) -> None:
        futures = {self._begin(rank): rank for rank in ranks}
        for future in as_completed(futures):
            ended = _result(future)
            if ended is None:
                continue
            tape, log = ended
            self.tapes[futures[future]] = tape
            if self._on_log is not None:
                self._on_log(log)
        if self._plan.ranks == "distinct":
            self._keep_others()

    def _begin(self, rank: int) -> Future[tuple[Tape, Log]]:
        with self._lock:
            if rank not in self._futures:
                self._futures[rank] = self._pool.submit(self._run, rank)
            return self._futures[rank]

    def _keep_others(self) -> None:
        """Keep the tapes of ranks that were rehearsed because others waited for them."""
        with self._lock:
            others = {rank: future for rank, future in self._futures.items() if rank not in self.tapes}
        for rank, future in others.items():
            ended = _result(future)
            if ended is not None:
                self.tapes[rank] = ended[0]

    def _run(self, rank: int) -> tuple[Tape, Log]:
        plan, scratch = self._plan, scratch_of(self._folder, rank)
        (scratch / MAIL).mkdir(parents=True)
        job = dataclasses.replace(
            self._job, scratch=str(scratch), world_size=plan.world_size, gpus_per_node=plan.gpus_per_node, rank=rank,
            ranks_folder=self._folder, memory_limit_bytes=self._share(),
        )  # fmt: skip
        turn = _Turn(self._slots, self._stop, self._enough)
        try:
            self._report(rank, {"state": "starting", "ops": 0, "steps": 0}, turn)
            with self._lock:
                self._active.add(rank)
            outcome, log = run_job(job, lambda progress: self._report(rank, progress, turn))
            tape = self._tape_of(job, outcome)
            if tape.notes.get("error") and plan.ranks == "distinct":
                self._enough.set()  # ranks that run come to their end
        finally:
            (scratch / MAIL).mkdir(exist_ok=True)  # a second run of the script clears the folder
            (scratch / MAIL / ENDED).touch()
            turn.end()
            with self._lock:
                self._active.discard(rank)
                self._waiting.pop(rank, None)
        log.rank = rank
        self._report(rank, {"state": "done", "ops": 0, "steps": 0}, turn)
        return tape, log

    def _share(self) -> int | None:
        limit = self._job.memory_limit_bytes
        only_one = self._plan.ranks != "distinct" and len(self._plan.ranks) == 1
        return limit if limit is None or only_one else limit // _AT_A_TIME

    def _report(self, rank: int, progress: dict[str, Any], turn: _Turn) -> None:
        """Pass progress on, one at a time; raising here ends the child."""
        if self._stop.is_set():
            raise _StoppedError
        needs = progress.get("needs")
        with self._lock:
            if needs is None:
                self._waiting.pop(rank, None)
            else:
                self._waiting.setdefault(rank, time.monotonic())
                turn.end()
                if len(self._futures) < _MOST_PROCESSES:
                    self._begin(needs)
                self._end_standstill()
            if self._on_progress is not None:
                self._on_progress({**progress, "rank": rank})

    def _end_standstill(self) -> None:
        """If every rank waits for another, let each go on without the message that it waits for."""
        pending = any(not future.done() and rank not in self._active for rank, future in self._futures.items())
        if pending or set(self._waiting) != self._active:
            return
        if time.monotonic() - max(self._waiting.values()) > _STANDSTILL_S:
            for rank in self._active:
                (scratch_of(self._folder, rank) / MAIL / ENDED).touch()


class _Turn:
    """One of the places at which ranks are rehearsed at the same time; given back once."""

    def __init__(self, slots: threading.Semaphore, *stops: threading.Event) -> None:
        self._slots, self._held = slots, False
        while not self._held:
            self._held = slots.acquire(timeout=0.05)
            if any(stop.is_set() for stop in stops):
                self.end()
                raise _StoppedError

    def end(self) -> None:
        """Give the place back."""
        if self._held:
            self._held = False
            self._slots.release()


def _result(future: Future[tuple[Tape, Log]]) -> tuple[Tape, Log] | None:
    """Return what a rank left; None if it was not begun."""
    try:
        return future.result()
    except (_StoppedError, CancelledError):
        return None


class _StoppedError(Exception):
    """The rehearsal was given up while this rank ran."""
