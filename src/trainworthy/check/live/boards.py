"""How ranks tell each other what they are about to do, at the price of a memory access where that is possible.

Each rank writes into a log of its own. Ranks on one machine read each other's through shared memory: an anonymous file
that its owner's process holds, so that nothing is left whatever happens to the process. Others ask the store that the
process group was made with. Which way it goes is decided for each pair, from what both publish in the store once.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import zlib
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

_BYTES = 16 << 20  # of address space; pages are taken as they are written
_HEAD = struct.Struct("<II")  # length of a record, checksum
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_LAST_WORDS = 8  # that the store keeps of a rank which leaves


class BoardFullError(Exception):
    """More was told than a log holds."""


class Home(NamedTuple):
    """Where a rank's log is. Equal machines can open each other's paths; None: the rank has no shared memory."""

    machine: str
    path: str | None


class Log:
    """Records that one process writes and others read, in order; for the writer."""

    def __init__(self) -> None:
        self._file = os.memfd_create("trainworthy")
        os.ftruncate(self._file, _BYTES)
        self._memory = mmap.mmap(self._file, _BYTES)
        self._end = 0
        self.path = f"/proc/{os.getpid()}/fd/{self._file}"

    def append(self, record: bytes) -> None:
        """Write a record; its length comes last, as that is what readers look at."""
        begin, end = self._end + _HEAD.size, self._end + _HEAD.size + len(record)
        if end + _HEAD.size > _BYTES:
            raise BoardFullError(f"{self._end} bytes were told to other ranks, of {_BYTES} that there is room for")
        self._memory[begin:end] = record
        _HEAD.pack_into(self._memory, self._end, len(record), zlib.crc32(record))
        self._end = end

    def close(self) -> None:
        """Let go of the memory; readers keep theirs."""
        self._memory.close()
        os.close(self._file)


class LogReader:
    """Reads another process's log."""

    def __init__(self, path: str) -> None:
        with open(path, "rb") as file:  # noqa: PTH123 - no file of a folder
            self._memory = mmap.mmap(file.fileno(), _BYTES, access=mmap.ACCESS_READ)
        self._at = 0

    def read(self) -> bytes | None:
        """Return the next record; None if it is not there yet, or not in whole."""
        length, checksum = _HEAD.unpack_from(self._memory, self._at)
        begin = self._at + _HEAD.size
        record = self._memory[begin : begin + length]
        if not length or zlib.crc32(record) != checksum:
            return None
        self._at = begin + length
        return record

    def close(self) -> None:
        """Let go of the memory."""
        self._memory.close()


class Board:
    """What this rank tells others, and what they told, by key; a key is told once.

    Args:
        store: The store of the process group.
        prefix: Before every key in the store.
        rank: This rank.
        shared: False: by the store alone.
    """

    def __init__(self, store: Any, prefix: str, rank: int, *, shared: bool = True) -> None:
        self._store = store
        self._prefix = prefix
        self._rank = rank
        self._log = Log() if shared and hasattr(os, "memfd_create") and _BOOT.exists() else None
        self._home = Home(_machine(), self._log.path if self._log else None)
        self._homes: dict[int, Home] = {}
        self._readers: dict[int, LogReader] = {}
        self._heard: dict[tuple[int, str], str] = {}
        self._last: deque[tuple[str, str]] = deque(maxlen=_LAST_WORDS)
        store.set(f"{prefix}/home/{rank}", json.dumps(self._home))

    def tell(self, key: str, text: str, *, reader: int) -> None:
        """Tell another rank; it is not waited for."""
        if self._log is not None:
            self._log.append(f"{key}\0{text}".encode())
            self._last.append((key, text))
        if not self._shares_with(reader):  # also while nothing is known of it
            self._store.set(f"{self._prefix}/{self._rank}/{key}", text)

    def hear(self, key: str, *, writer: int) -> str | None:
        """Return what another rank told under a key; None if it has not yet."""
        if self._home_of(writer) is None:
            return None
        reader = self._reader_of(writer) if self._shares_with(writer) else None
        if reader is None:
            at = f"{self._prefix}/{writer}/{key}"
            return self._store.get(at).decode() if self._store.check([at]) else None
        while (record := reader.read()) is not None:
            name, _, text = record.decode().partition("\0")
            self._heard[writer, name] = text
        return self._heard.pop((writer, key), None)

    def _reader_of(self, rank: int) -> LogReader | None:
        """Open a rank's log; None if the rank has left and took it along: then its last words are in the store."""
        reader = self._readers.get(rank)
        if reader is None:
            del self._homes[rank]  # it may have left since
            home = self._home_of(rank)
            try:
                if home is not None and home.path is not None:
                    reader = self._readers[rank] = LogReader(home.path)
            except (OSError, ValueError):
                self._homes[rank] = Home(self._home.machine, None)
        return reader

    def _shares_with(self, rank: int) -> bool:
        other = self._home_of(rank)
        return other is not None and None not in (other.path, self._home.path) and other.machine == self._home.machine

    def _home_of(self, rank: int) -> Home | None:
        known = self._homes.get(rank)
        if known is None:
            key = f"{self._prefix}/home/{rank}"
            if self._store.check([key]):
                known = self._homes[rank] = Home(*json.loads(self._store.get(key)))
        return known

    def close(self) -> None:
        """Let go of the memory; a rank that has not opened this one's log yet finds the last words in the store."""
        if self._log is not None:
            with suppress(RuntimeError):  # the group may be gone, and with it whoever would ask
                for key, text in self._last:
                    self._store.set(f"{self._prefix}/{self._rank}/{key}", text)
                self._store.set(f"{self._prefix}/home/{self._rank}", json.dumps(Home(self._home.machine, None)))
        for each in (self._log, *self._readers.values()):
            if each is not None:
                each.close()
        self._log = None
        self._readers.clear()


def _machine() -> str:
    """Name what processes must have in common to open each other's anonymous files."""
    if not _BOOT.exists():
        return ""
    return f"{_BOOT.read_text(encoding='ascii').strip()} {os.stat('/proc/self/ns/pid').st_ino} {os.getuid()}"  # noqa: PTH116
