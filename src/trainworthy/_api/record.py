"""``trainworthy.record`` and ``trainworthy.load_tape``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainworthy._api.need_torch import need_torch

if TYPE_CHECKING:
    from trainworthy.tape.record import Tape


@contextmanager
def record() -> Iterator[LiveTape]:
    """Record what runs inside the ``with`` block, on real tensors or virtual ones.

    >>> with record() as tape:  # doctest: +SKIP
    ...     train_one_step()
    >>> tape.by_module()  # doctest: +SKIP
    """
    need_torch("Recording")
    from trainworthy.tape.recorder import Recorder

    recorder = Recorder()
    live = LiveTape(recorder)
    try:
        with recorder:
            yield live
    finally:
        recorder.steps.finish()
        live.close()


class LiveTape:
    """A tape that is being recorded; has everything a ``Tape`` has, complete after the block."""

    def __init__(self, recorder: Any) -> None:
        self._recorder = recorder
        self._tape: Tape | None = None

    @property
    def tape(self) -> Tape:
        """The plain tape of what was recorded so far."""
        return self._tape if self._tape is not None else _real_tape(self._recorder)

    def close(self) -> None:
        """Keep the tape and let go of what was recorded."""
        self._tape = _real_tape(self._recorder)
        self._recorder = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.tape, name)

    def _repr_html_(self) -> str:
        return self.tape._repr_html_()


def _real_tape(recorder: Any) -> Tape:
    """Build the tape of real tensors: the training's device is the one that held most memory."""
    peaks = {k: v for k, v in recorder.ledger.peak_bytes.items() if k != "meta"}
    gpus = {k: v for k, v in peaks.items() if k.startswith("cuda")}
    device = max(gpus or peaks or {"cpu": 0}, key=lambda k: (gpus or peaks or {"cpu": 0})[k])
    tape: Tape = recorder.tape(device=device, granularity_bytes=recorder.ledger.granularity_bytes)
    return tape


def load_tape(path: str | Path) -> Tape:
    """Read a tape that ``Tape.save`` or ``trainworthy rehearse --tape`` wrote; needs no torch.

    Raises:
        TapeError: If the file is not a tape, is damaged, or is of another version.
    """
    from trainworthy.tape.file import load_tape as load

    return load(path)
