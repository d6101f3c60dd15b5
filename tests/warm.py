"""Rehearsals whose child process is forked from a server that has imported torch once, instead of started anew.

Starting Python and importing torch takes longer than most of the small rehearsals of the tests. With the fixture
``warm_rehearsals`` a child differs from a user's in one thing: torch and trainworthy are imported already when files,
processes and the network are redirected. ``tests/test_warm.py`` compares the two. Tests about the child itself
(how it starts, what it may do, how it ends) do without.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from trainworthy.virtual.script_job import environment, load_job
from trainworthy.virtual.script_parent import with_package_path

SERVERS: dict[str, _Server] = {}
"""The servers of this process, by what they have imported; they end with it."""


_LOCK = threading.Lock()


class Child:
    """What ``subprocess.Popen`` would be: the part of it that ``run_once`` uses."""

    returncode: int | None

    def __init__(self, module: str, job_file: Path, env: dict[str, str]) -> None:
        job = load_job(job_file)
        kind = "alone" if job.world_size is None and job.target != "trainworthy" else "parallel"
        self.args, self.returncode = [module, str(job_file)], None
        out, out_end = os.pipe()
        self._status, status_end = os.pipe()
        try:
            _server(kind).start({"module": module, "args": [str(job_file)], "env": env}, out_end, status_end)
        finally:
            os.close(out_end)
            os.close(status_end)
        self.stdout = os.fdopen(out, "rb", buffering=0)
        self.pid = self._read_number()

    def poll(self) -> int | None:
        """Return how the child ended; None if it has not."""
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            self._ended()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end of the child, and return its code.

        Raises:
            TimeoutExpired: If it has not ended by then.
        """
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
            self._ended()
        assert self.returncode is not None
        return self.returncode

    def _ended(self) -> None:
        self.returncode = self._read_number()
        os.close(self._status)

    def _read_number(self) -> int:
        text = b""
        while not text.endswith(b"\n"):
            piece = os.read(self._status, 1)
            assert piece, "the server of warm rehearsals is gone"
            text += piece
        return int(text)


class _Server:
    """A process that has imported torch, and forks."""

    def __init__(self, kind: str) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, str(Path(__file__).with_name("warm_server.py")), kind]
            process = subprocess.Popen(
                command, stdin=theirs.fileno(), env=with_package_path(environment(tempfile.gettempdir()))
            )
        self.pid = process.pid
        atexit.register(self._end, process)

    def start(self, request: dict[str, Any], *files: int) -> None:
        """Have a child forked that prints into the first file; the second gets its number and its code."""
        text = json.dumps({**request, "folder": str(Path.cwd())}).encode()
        with _LOCK:  # ranks are started by threads
            socket.send_fds(self._socket, [len(text).to_bytes(4, "big")], files)
            self._socket.sendall(text)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        self._socket.close()
        process.wait(timeout=10)


def _server(kind: str) -> _Server:
    with _LOCK:
        if kind not in SERVERS:
            SERVERS[kind] = _Server(kind)
        return SERVERS[kind]
