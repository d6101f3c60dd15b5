"""What ranks that are rehearsed together say to each other: small values and pickled objects.

Large tensors have no values and are not passed on. Small ones steer a script: the shapes that pipeline stages agree
on, a number that rank 0 draws, a list of objects. Each rank leaves its messages in its own scratch folder, which
others may read; who waits for one says so, so that the rank that sends it is rehearsed too.

    <folder>/rank-3/mail/<channel>.<receiver>.<number>      receiver "all" for a broadcast
    <folder>/rank-3/mail/ended                              nothing more will come
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

MAIL = "mail"
ENDED = "ended"
UNKNOWN = b""  # the sender does not know the value either
MAX_BYTES = 1 << 20
_POLL_S = 0.02


def scratch_of(folder: str | Path, rank: int) -> Path:
    """Return the scratch folder of a rank."""
    return Path(folder) / f"rank-{rank}"


class Mailbox:
    """The messages of one rank.

    Args:
        folder: Where the scratch folders of all ranks are.
        rank: The rank that this process is.
        waiting: Called with the rank that is waited for, and with None when its message is there.
    """

    def __init__(self, folder: str, rank: int, waiting: Callable[[int | None], None] = lambda rank: None) -> None:
        self._folder, self._rank, self._waiting = Path(folder), rank, waiting
        self._out = scratch_of(folder, rank) / MAIL
        self._out.mkdir(parents=True, exist_ok=True)
        self._numbers: dict[tuple[str, ...], int] = {}

    def put(self, channel: str, receiver: int | None, content: bytes) -> None:
        """Leave a message; None: for every rank."""
        name = self._name("out", channel, str(self._rank), receiver)
        partial = self._out / f"{name}.tmp"
        partial.write_bytes(content if len(content) <= MAX_BYTES else UNKNOWN)
        partial.replace(self._out / name)

    def take(self, channel: str, sender: int, *, broadcast: bool = False) -> bytes | None:
        """Wait for the next message of ``sender``; None if there will be none, or its content is unknown."""
        name = self._name("in", channel, str(sender), None if broadcast else self._rank)
        box = scratch_of(self._folder, sender) / MAIL
        told = False
        while True:
            ended = (box / ENDED).exists()  # before the message is looked for, which may come first
            try:
                content = (box / name).read_bytes()
            except OSError:
                if ended:
                    content = UNKNOWN
                else:
                    if not told:
                        told = True
                        self._waiting(sender)
                    time.sleep(_POLL_S)
                    continue
            if told:
                self._waiting(None)
            return content or None

    def _name(self, way: str, channel: str, sender: str, receiver: int | None) -> str:
        to = "all" if receiver is None else str(receiver)
        key = (way, channel, sender, to)
        number = self._numbers[key] = self._numbers.get(key, -1) + 1
        return f"{channel}.{to}.{number}"
