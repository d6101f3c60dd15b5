"""Threads that the script starts, and processes that it forks.

Modes and dispatch keys of torch belong to one thread. A thread started during a rehearsal gets its
own, so that a prefetching thread can move batches to the device.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch.utils._python_dispatch import _pop_mode, _push_mode

from trainworthy.virtual.overrides import switched_on

if TYPE_CHECKING:
    from trainworthy.virtual.gpu import VirtualGpu


class Owner:
    """The process that holds the virtual GPU, and whether it has used it."""

    process: int | None = None
    used: Any = staticmethod(lambda: False)


def refuse_fork() -> None:
    """Refuse CUDA in a forked process, as the driver does once the parent has used it."""
    if Owner.process is not None and os.getpid() != Owner.process and Owner.used():
        raise RuntimeError(
            "Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, "
            "you must use the 'spawn' start method"
        )


@contextmanager
def threads_followed(gpu: VirtualGpu) -> Iterator[None]:
    """Let threads that start while the context is open use the virtual GPU."""
    start, before = threading.Thread.start, (Owner.process, Owner.used)

    def follow(self: threading.Thread) -> None:
        run = self.run

        def run_on_gpu() -> None:
            with switched_on():
                _push_mode(gpu.device)
                _push_mode(gpu.recorder)
                try:
                    run()
                finally:
                    _pop_mode()
                    _pop_mode()

        self.run = run_on_gpu  # type: ignore[method-assign]
        start(self)

    threading.Thread.start = follow  # type: ignore[method-assign]
    Owner.process, Owner.used = os.getpid(), lambda: bool(gpu.recorder.ledger.peak_bytes.get("cuda:0"))
    try:
        yield
    finally:
        threading.Thread.start = start  # type: ignore[method-assign]
        Owner.process, Owner.used = before
