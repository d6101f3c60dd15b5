"""What a run writes down: one JSON object a line in ``metrics.jsonl``; the same for TensorBoard and W&B."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any, Literal, Protocol

from trainworthy.errors import UsageError

Kind = Literal["train", "evaluation", "end"]
Value = float | int | str | bool | None

FILE = "metrics.jsonl"


class Sink(Protocol):
    """Something else that takes rows."""

    def write(self, kind: Kind, step: int, numbers: Mapping[str, float]) -> None:
        """Take the numbers of a row."""
        ...

    def close(self) -> None:
        """Flush."""
        ...


class Journal:
    """Writes rows on rank 0; on other ranks, where ``folder`` is None, nothing.

    A row has ``kind``, ``step`` (steps done), ``epoch``, then metrics. A number that is not finite is written as the
    string ``"nan"``, ``"inf"`` or ``"-inf"``, so that every reader of JSON takes the file and none mistakes it for 0.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        after_step: int,
        tensorboard: bool | None,
        warn: Callable[[str], None] = warnings.warn,
    ) -> None:
        self._file: FileIO | None = None
        self._sinks: list[Sink] = []
        self._warn, self._lost = warn, 0
        if folder is None:
            return
        with_tensorboard = _wants_tensorboard(tensorboard)
        with self._tolerant():
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / FILE
            _drop_later_rows(path, after_step)
            self._file = FileIO(path, "a")  # unbuffered: nothing is left behind that would be tried again later
            if with_tensorboard:
                self._sinks.append(_TensorBoard(folder / "tensorboard", after_step))
            if "WANDB_PROJECT" in os.environ and importlib.util.find_spec("wandb"):
                self._sinks.append(_Wandb(folder))

    def write(self, kind: Kind, step: int, epoch: int, numbers: Mapping[str, float]) -> None:
        """Write one row; when this returns, it has left this process."""
        if self._file is None:
            return
        row: dict[str, Value] = {"kind": kind, "step": step, "epoch": epoch}
        row.update({name: _plain(number) for name, number in numbers.items()})
        with self._tolerant():
            self._file.write(json.dumps(row).encode() + b"\n")
        for sink in self._sinks:
            with self._tolerant():
                sink.write(kind, step, numbers)

    def close(self) -> None:
        """Flush and close everything."""
        if self._file is not None:
            self._file.close()
        for sink in self._sinks:
            with self._tolerant():
                sink.close()

    @contextmanager
    def _tolerant(self) -> Iterator[None]:
        """Go on where a disk is full or gone: metrics are lost then, but not the run. Said once."""
        try:
            yield
        except OSError as error:
            self._lost += 1
            if self._lost == 1:
                self._warn(f"Metrics could not be written ({error}); the run goes on without them where it has to.")


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of a run, oldest first; lines that a full disk or a kill cut off are left out."""
    rows = []
    for line in (folder / FILE).read_text(encoding="utf-8", errors="replace").splitlines():
        with suppress(json.JSONDecodeError):
            rows.append(json.loads(line))
    return rows


def _drop_later_rows(path: Path, after_step: int) -> None:
    """Keep the rows up to the step from which the run goes on: later ones are about to be written again."""
    if not path.exists():
        return
    kept = [row for row in read_rows(path.parent) if row["step"] <= after_step and row["kind"] != "end"]
    aside = path.with_suffix(".tmp")
    aside.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
    aside.replace(path)


def _plain(number: float) -> Value:
    return number if math.isfinite(number) else str(float(number))


def _wants_tensorboard(wanted: bool | None) -> bool:
    there = importlib.util.find_spec("tensorboard") is not None
    if wanted and not there:
        raise UsageError("train.tensorboard is on, and tensorboard is not installed.", fix="pip install tensorboard")
    return there if wanted is None else wanted


class _TensorBoard:
    def __init__(self, folder: Path, after_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder), purge_step=after_step + 1 if after_step else None)

    def write(self, kind: Kind, step: int, numbers: Mapping[str, float]) -> None:
        for name, number in numbers.items():
            self._writer.add_scalar(f"{kind}/{name}", number, step)

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    def __init__(self, folder: Path) -> None:
        wandb: Any = importlib.import_module("wandb")
        self._run = wandb.init(dir=str(folder), id=folder.resolve().name, resume="allow")

    def write(self, kind: Kind, step: int, numbers: Mapping[str, float]) -> None:
        self._run.log({f"{kind}/{name}": number for name, number in numbers.items()}, step=step)

    def close(self) -> None:
        self._run.finish()
