"""An audit hook: refuses what would leave the rehearsal and was not redirected before."""

# pathlib would go through the functions that are replaced here:
# ruff: noqa: PTH100
from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from trainworthy.virtual.effects_processes import LET_RUN

if TYPE_CHECKING:
    from trainworthy.virtual.effects import Effects

_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0", "", "::", "ip6-localhost"})
Check = Callable[[tuple[Any, ...]], None]


class EffectRefusedError(PermissionError):
    """A rehearsal refuses this effect on the world outside."""


class NetworkRefusedError(ConnectionError):
    """A rehearsal has no network."""

    trainworthy_fix = "Fetch the data or weights once outside the rehearsal, or stand in for a data set with --data."


def install_audit(effects: Effects) -> None:
    """Watch this process until it ends."""
    checks = _Checks(effects).by_event()

    def hook(event: str, args: tuple[Any, ...]) -> None:
        check = checks.get(event)
        if check is not None:
            check(args)

    sys.addaudithook(hook)


class _Checks:
    def __init__(self, effects: Effects) -> None:
        self._effects = effects
        self._overlay = effects.overlay
        self._hosts = _LOCAL_HOSTS | {os.uname().nodename}

    def by_event(self) -> dict[str, Check]:
        """Return the check of each audit event."""
        one = dict.fromkeys((
            "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.chmod", "os.chown", "os.utime",
            "os.setxattr", "os.removexattr",
        ), self._path)  # fmt: skip
        return {
            **one,
            "open": self._open,
            "os.rename": self._two_paths,
            "os.link": self._second_path,
            "os.symlink": self._second_path,
            "subprocess.Popen": self._program,
            "os.posix_spawn": self._program,
            "os.exec": self._program,
            "os.system": self._program,
            "os.spawn": self._program,
            "socket.connect": self._connect,
            "socket.sendto": self._connect,
            "socket.getaddrinfo": self._look_up,
            "socket.gethostbyname": self._look_up,
            "os.kill": self._kill,
            "os.killpg": self._kill,
        }

    # --- files ------------------------------------------------------------------------------------

    def _open(self, args: tuple[Any, ...]) -> None:
        path, mode, flags = args
        writes = bool(flags & _WRITE_FLAGS) if isinstance(flags, int) else False
        if isinstance(mode, str):
            writes = any(letter in mode for letter in "wax+")
        if writes and not isinstance(path, int):
            self._refuse_outside(path)

    def _path(self, args: tuple[Any, ...]) -> None:
        dir_fd = args[-1] if isinstance(args[-1], int) and args[-1] >= 0 and len(args) > 1 else None
        if not isinstance(args[0], int) and dir_fd is None:
            self._refuse_outside(args[0])

    def _two_paths(self, args: tuple[Any, ...]) -> None:
        self._refuse_outside(args[0])
        self._refuse_outside(args[1])

    def _second_path(self, args: tuple[Any, ...]) -> None:
        self._refuse_outside(args[1])

    def _refuse_outside(self, path: Any) -> None:
        try:
            text = os.path.abspath(os.fsdecode(path))
        except (TypeError, OSError):
            return
        # Not through the overlay's eyes: what arrives here is what the system would do.
        if not self._overlay.is_free(text):
            self._effects.note("write", f"refused: {self._overlay.shows_user(text)}")
            raise EffectRefusedError(13, "a rehearsal changes nothing outside its scratch folder", text)

    # --- processes --------------------------------------------------------------------------------

    def _program(self, args: tuple[Any, ...]) -> None:
        if not LET_RUN.on:
            what = os.fsdecode(args[0]) if isinstance(args[0], (str, bytes)) else str(args[0])
            self._effects.note("process", what[:200])
            raise EffectRefusedError(13, "a rehearsal starts no programs", what[:200])

    def _kill(self, args: tuple[Any, ...]) -> None:
        pid = args[0]
        if pid in {0, os.getpid(), os.getpgrp()}:
            return
        try:
            if os.getpgid(abs(pid)) == os.getpgrp():
                return
        except ProcessLookupError:
            return
        self._effects.note("process", f"signal to process {pid}")
        raise EffectRefusedError(1, "a rehearsal sends no signals to other processes", str(pid))

    # --- network ----------------------------------------------------------------------------------

    def _connect(self, args: tuple[Any, ...]) -> None:
        address = args[1] if len(args) > 1 else None
        if isinstance(address, tuple) and address and isinstance(address[0], (str, bytes)):
            port = f":{address[1]}" if len(address) > 1 else ""
            self._refuse_host(os.fsdecode(address[0]), port)

    def _look_up(self, args: tuple[Any, ...]) -> None:
        if isinstance(args[0], (str, bytes)):
            port = f":{args[1]}" if len(args) > 1 and args[1] else ""
            self._refuse_host(os.fsdecode(args[0]), port)

    def _refuse_host(self, host: str, port: str) -> None:
        if host in self._hosts or host.startswith("127."):
            return
        self._effects.note("network", f"{host}{port}")
        raise NetworkRefusedError(f"a rehearsal has no network; the script wanted {host}{port}")
