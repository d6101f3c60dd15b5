"""``rehearse --find-largest-batch``: the largest batch that fits, each candidate rehearsed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainworthy.cli.options import emit
from trainworthy.errors import UsageError
from trainworthy.units import format_bytes

if TYPE_CHECKING:
    from trainworthy.cli.rehearse import Request
    from trainworthy.inspect import RehearsalResult

_NAMES = (
    "--batch-size", "--batch_size", "--per_device_train_batch_size", "--per-device-train-batch-size",
    "--train_batch_size", "--train-batch-size", "--batchsize", "--batchSize", "--micro-batch-size", "--bs",
    "--batch", "-b",
)  # fmt: skip
_ASSIGNED = re.compile(r"^(?P<name>[\w.]*batch[\w.]*)=(?P<value>\d+)$")  # hydra, nanoGPT: batch_size=12
_MAX_RUNS = 16
_START = 8


def find_largest_batch(request: Request) -> int:
    """Search on each GPU, print one table, return 0 if some batch fits everywhere."""
    option = BatchOption.of(request)
    searches = [search_batches(request, gpu, option) for gpu in request.gpus]
    if request.options.format == "json":
        emit(json.dumps([search_dict(t) for t in searches], indent=2), request.options.output)
    else:
        emit("\n\n".join(_as_text(t, option) for t in searches), request.options.output)
    good = all(search.fits for search in searches)
    return 0 if good or request.options.exit_zero else 1


class BatchOption:
    """The script's option for the batch, and how to give it another value."""

    def __init__(self, name: str, start: int, args: tuple[str, ...]) -> None:
        self.name = name
        self.start = start
        self._args = args

    @classmethod
    def of(cls, request: Request) -> BatchOption:
        """Find the option among the script's words, or in its text.

        Raises:
            UsageError: If there is none.
        """
        return cls.named(request.options.find_largest_batch, request)

    @classmethod
    def named(cls, wanted: str | None, request: Request, *, where: str = "--find-largest-batch") -> BatchOption:
        """Find an option by its name; without one, that for the batch.

        Raises:
            UsageError: If there is none.
        """
        args = request.args
        names = (wanted,) if wanted else _NAMES
        for index, word in enumerate(args):
            name, equals, value = word.partition("=")
            if equals and (name in names or (not wanted and _ASSIGNED.match(word))) and value.isdigit():
                return cls(name, int(value), args)
            if word in names and index + 1 < len(args) and args[index + 1].isdigit():
                return cls(word, int(args[index + 1]), args)
        if wanted:
            return cls(wanted, _START, args)
        text = Path(request.target).read_text(errors="replace") if Path(request.target).is_file() else ""
        for name in names:
            if f'"{name}"' in text or f"'{name}'" in text:
                return cls(name, _START, args)
        raise UsageError(
            "The script's option for the batch was not found.",
            where=where,
            fix="Name it before the script: --find-largest-batch=--my-batch-option.",
        )

    def with_value(self, value: int) -> tuple[str, ...]:
        """Return the script's words with another batch."""
        out: list[str] = []
        replaced = skip = False
        for word in self._args:
            if skip:
                skip = False
            elif word == self.name:
                out += [word, str(value)]
                replaced = skip = True
            elif word.partition("=")[0] == self.name and "=" in word:
                out.append(f"{self.name}={value}")
                replaced = True
            else:
                out.append(word)
        if not replaced:
            out += [self.name, str(value)] if self.name.startswith("-") else [f"{self.name}={value}"]
        return tuple(out)


def search_batches(request: Request, gpu: str | None, option: BatchOption) -> Search:
    """Rehearse one batch after the other until the largest that fits is known."""
    if gpu is None:
        raise UsageError("Without a GPU everything fits.", where="--find-largest-batch", fix="Add --gpu ID.")
    search = Search(gpu)
    batch: int | None = option.start
    while batch is not None and len(search.runs) < _MAX_RUNS:
        result = search.runs[batch] = request.rehearse(gpu, option.with_value(batch))
        if result.cluster is not None:  # of many ranks, the one that needs most decides
            request.rank = result.cluster.rank
        batch = search.next_batch(batch)
    return search


class Search:
    """Grows the batch while it fits, then closes in between what fits and what does not."""

    def __init__(self, gpu: str) -> None:
        self.gpu = gpu
        self.runs: dict[int, RehearsalResult] = {}
        self.saturated = False

    @property
    def fits(self) -> int:
        """The largest batch that was seen to fit; 0 if none."""
        return max((b for b, r in self.runs.items() if r.verdict == "fits"), default=0)

    @property
    def too_large(self) -> int | None:
        """The smallest batch that was seen not to fit."""
        return min((b for b, r in self.runs.items() if r.verdict != "fits"), default=None)

    def next_batch(self, last: int) -> int | None:
        """Return the next batch to try; None if the answer is known."""
        fits, too_large = self.fits, self.too_large
        if self.runs[last].verdict == "failed" and len(self.runs) == 1:
            return None
        if too_large is None:
            self.saturated = self._no_longer_grows()
            return None if self.saturated else min(max(self._guess() or 0, fits * 2), fits * 8)
        if too_large - fits <= (max(fits // 16, 1) if self.failed_above else 1):
            return None
        middle = (fits + too_large) // 2
        crept = last + 1 in self.runs or last - 1 in self.runs
        if self.failed_above or crept:
            return middle
        return min(max(self._guess() or middle, fits + 1), too_large - 1)

    @property
    def failed_above(self) -> str | None:
        """Why the smallest batch that does not fit failed, if memory is not the reason."""
        run = self.runs.get(self.too_large or 0)
        return run.error["message"] if run is not None and run.error is not None else None

    def _no_longer_grows(self) -> bool:
        """Tell whether the two largest batches did the same work: the data set is smaller than they are."""
        last = [self.runs[b] for b in sorted(self.runs)[-2:]]
        work = {(r.peak_memory_bytes, r.moved_bytes_per_step) for r in last}
        return len(last) == 2 and len(work) == 1

    def _guess(self) -> int | None:
        """Memory grows about linearly with the batch: go by the two runs nearest to the limit."""
        limit = next(iter(self.runs.values())).driver_memory_bytes
        known = [b for b in self.runs if self.runs[b].verdict != "failed"]
        if limit is None or len(known) < 2:
            return None
        needs = {b: self.runs[b].needed_memory_bytes for b in known}
        a, b = sorted(known, key=lambda batch: abs(needs[batch] - limit))[:2]
        if needs[a] == needs[b]:
            return None
        return int(a + (limit - needs[a]) * (b - a) / (needs[b] - needs[a]))


def _as_text(search: Search, option: BatchOption) -> str:
    lines = [f"{search.gpu}: {option.name}", f"{'batch':>8}  {'needed':>10}  {'of':>10}  verdict"]
    for batch in sorted(search.runs):
        result = search.runs[batch]
        failed = f": {result.error['message']}" if result.error else ""
        lines.append(
            f"{batch:>8,}  {format_bytes(result.needed_memory_bytes):>10}  "
            f"{format_bytes(result.driver_memory_bytes):>10}  {result.verdict}{failed}"
        )
    if search.failed_above and search.fits:
        lines.append(f"Batches up to {search.fits:,} fit; the script cannot do {search.too_large:,} at all.")
    elif search.saturated:
        lines.append(f"Every batch fits: from {search.fits:,} on memory no longer grows (is the data set smaller?).")
    else:
        lines.append(f"The largest batch that fits is {search.fits:,}." if search.fits else "No batch fits.")
    return "\n".join(lines)


def search_dict(search: Search) -> dict[str, Any]:
    """Return what a search found as plain data."""
    runs = [
        {"batch": batch, "verdict": r.verdict, "needed_memory_bytes": r.needed_memory_bytes}
        for batch, r in sorted(search.runs.items())
    ]
    largest = None if search.saturated else search.fits or None
    return {"gpu": search.gpu, "largest_batch": largest, "every_batch_fits": search.saturated, "runs": runs}
