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
    tables = [_search(request, gpu, option) for gpu in request.gpus]
    if request.options.format == "json":
        emit(json.dumps([_as_dict(t) for t in tables], indent=2), request.options.output)
    else:
        emit("\n\n".join(_as_text(t, option) for t in tables), request.options.output)
    good = all(table["largest"] is not None for table in tables)
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
        wanted = request.options.find_largest_batch
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
            where="--find-largest-batch",
            fix="Name it: --find-largest-batch --my-batch-option, before the script.",
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


def _search(request: Request, gpu: str | None, option: BatchOption) -> dict[str, Any]:
    """Double while it fits, then close in between the largest that fits and the smallest that does not."""
    if gpu is None:
        raise UsageError("Without a GPU everything fits.", where="--find-largest-batch", fix="Add --gpu ID.")
    runs: dict[int, RehearsalResult] = {}
    batch, fits, too_large = option.start, 0, None
    while len(runs) < _MAX_RUNS:
        result = runs[batch] = request.rehearse(gpu, option.with_value(batch))
        if result.verdict == "failed" and not fits and too_large is None and batch == option.start:
            break
        if result.verdict == "fits":
            fits = batch
        else:
            too_large = batch
        if too_large is not None and too_large - fits <= 1:
            break
        batch = _next_batch(runs, fits, too_large)
    return {"gpu": gpu, "largest": fits or None, "runs": runs}


def _next_batch(runs: dict[int, RehearsalResult], fits: int, too_large: int | None) -> int:
    """Memory grows about linearly with the batch: guess from the two nearest runs, inside the bracket."""
    if too_large is None:
        return fits * 2
    middle = (fits + too_large) // 2
    known = [b for b in runs if runs[b].verdict != "failed"]
    if len(known) < 2:
        return middle
    a, b = sorted(known, key=lambda batch: abs(batch - middle))[:2]
    need_a, need_b = runs[a].needed_memory_bytes, runs[b].needed_memory_bytes
    limit = runs[a].driver_memory_bytes
    if need_a == need_b or limit is None:
        return middle
    guess = int(a + (limit - need_a) * (b - a) / (need_b - need_a))
    return min(max(guess, fits + 1), too_large - 1)


def _as_text(table: dict[str, Any], option: BatchOption) -> str:
    lines = [f"{table['gpu']}: {option.name}", f"{'batch':>8}  {'needed':>10}  {'of':>10}  verdict"]
    for batch in sorted(table["runs"]):
        result = table["runs"][batch]
        failed = f": {result.error['message']}" if result.error else ""
        lines.append(
            f"{batch:>8,}  {format_bytes(result.needed_memory_bytes):>10}  "
            f"{format_bytes(result.driver_memory_bytes):>10}  {result.verdict}{failed}"
        )
    largest = table["largest"]
    lines.append(f"The largest batch that fits is {largest:,}." if largest else "No batch fits.")
    return "\n".join(lines)


def _as_dict(table: dict[str, Any]) -> dict[str, Any]:
    runs = [
        {"batch": batch, "verdict": r.verdict, "needed_memory_bytes": r.needed_memory_bytes}
        for batch, r in sorted(table["runs"].items())
    ]
    return {"gpu": table["gpu"], "largest_batch": table["largest"], "runs": runs}
