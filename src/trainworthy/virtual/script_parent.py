"""Run a script in a child process with limits; this side never imports torch and never crashes.

Whatever the script does (abort, loop for ever, print a gigabyte, fork, kill itself) ends in an
``Outcome`` with an error that says what happened.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from trainworthy.virtual.script_job import (
    FAULTS,
    PROGRESS,
    Job,
    Outcome,
    environment,
    load_outcome,
    make_error,
)

Progress = Callable[[dict[str, Any]], None]

# How much longer than its own limit the child may take to write what it has.
_GRACE_S = 20.0
_START_S = 120.0  # importing torch from a cold disk
_LOG_HEAD_BYTES, _LOG_TAIL_BYTES = 256 * 1024, 1024 * 1024
_FAULT = re.compile(r'^  File "(?P<path>[^"]+)", line (?P<line>\d+) in ', re.MULTILINE)


class Log:
    """The script's output: its beginning and its end; what lies between is counted, not kept.

    ``rank`` is set for a rehearsal on a virtual cluster.
    """

    def __init__(self) -> None:
        self.rank: int | None = None
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self.dropped_bytes = 0

    def add(self, chunk: bytes) -> None:
        """Take what was printed."""
        room = _LOG_HEAD_BYTES - len(self._head)
        if room > 0:
            self._head += chunk[:room]
            chunk = chunk[room:]
        if not chunk:
            return
        self._tail.append(chunk)
        self._tail_bytes += len(chunk)
        while self._tail_bytes > _LOG_TAIL_BYTES and len(self._tail) > 1:
            gone = len(self._tail.popleft())
            self._tail_bytes -= gone
            self.dropped_bytes += gone

    def text(self) -> str:
        """Return the log; a line says how much of the middle is missing."""
        middle = b""
        if self.dropped_bytes:
            middle = f"\n[... {self.dropped_bytes:,} bytes left out ...]\n".encode()
        return (bytes(self._head) + middle + b"".join(self._tail)).decode("utf-8", "replace")

    def last_lines(self, count: int = 20) -> list[str]:
        """Return the last lines, each cut to a readable length; progress bars leave their end."""
        lines = [line.rsplit("\r", 1)[-1] for line in self.text()[-64_000:].split("\n")]
        return [line[:400] for line in lines if line.strip()][-count:]


def run_job(job: Job, on_progress: Progress | None = None) -> tuple[Outcome, Log]:
    """Run ``job`` in a process group of its own and return how it ended, and what it printed.

    A script that fails after one of its evaluations was cut short runs again, with evaluations in full.

    Raises:
        KeyboardInterrupt: If the user pressed Ctrl-C; the process group is gone by then.
    """
    outcome, log = run_once(job, on_progress)
    failed = outcome.error is not None and outcome.error["kind"] == "exception"
    if failed and outcome.notes.get("evaluation_was_cut"):
        for left in Path(job.scratch).iterdir():
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink()
        return run_once(dataclasses.replace(job, whole_evaluation=True), on_progress)
    return outcome, log


def run_once(
    job: Job, on_progress: Progress | None = None, *, child: str = "trainworthy.virtual.script"
) -> tuple[Outcome, Log]:
    """Run ``job`` once; ``child`` is the module that does so in the process of its own."""
    scratch = Path(job.scratch)
    (scratch / "tmp").mkdir(parents=True, exist_ok=True)
    job_file = scratch / "job.json"
    job.save(job_file)
    log = Log()
    process = start_child(child, job_file, with_package_path(environment(job.scratch)))
    assert process.stdout is not None
    pump = threading.Thread(target=_pump, args=(process.stdout, log), daemon=True)
    pump.start()
    try:
        killed = _wait(process, job, on_progress)
    finally:
        _kill_group(process)
        pump.join(timeout=2.0)
        process.stdout.close()
    outcome = load_outcome(scratch)
    if outcome is None:
        outcome = Outcome(error=_death(process.returncode, killed, job))
    if outcome.error is not None:
        outcome.error.setdefault("log", log.last_lines())
    return outcome, log


def start_child(module: str, job_file: Path, env: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start ``module`` in a process group of its own, with no input and its output in a pipe."""
    return subprocess.Popen(
        [sys.executable, "-m", module, str(job_file)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, start_new_session=True,
    )  # fmt: skip


def with_package_path(env: dict[str, str]) -> dict[str, str]:
    """Let the child find this package even if the parent was started from a source tree."""
    root = str(Path(__file__).resolve().parents[2])
    if root in sys.path and "site-packages" not in root:
        env["TRAINWORTHY_SOURCE"] = root
        paths = [p for p in env.get("PYTHONPATH", "").split(os.pathsep) if p]
        if root not in paths:
            env["PYTHONPATH"] = os.pathsep.join([*paths, root])
    return env


def _pump(stream: IO[bytes], log: Log) -> None:
    with contextlib.suppress(OSError, ValueError):
        while chunk := os.read(stream.fileno(), 1 << 16):
            log.add(chunk)


def _wait(process: subprocess.Popen[bytes], job: Job, on_progress: Progress | None) -> bool:
    """Wait for the child; kill it if it outlives its limit. Returns whether it was killed."""
    started = time.monotonic()
    running_since: float | None = None
    progress_file = Path(job.scratch) / PROGRESS
    while process.poll() is None:
        progress = _read_progress(progress_file)
        if progress is not None:
            running_since = running_since or time.monotonic()
            if on_progress is not None:
                on_progress(progress)
        now = time.monotonic()
        late = running_since is not None and now - running_since > job.time_limit_s + _GRACE_S
        if late or (running_since is None and now - started > job.time_limit_s + _START_S):
            return True
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.05 if now - started < 5 else 0.2)
    return False


def _read_progress(path: Path) -> dict[str, Any] | None:
    try:
        progress: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return progress


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """End the child and whatever it forked."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _death(code: int, killed: bool, job: Job) -> dict[str, Any]:
    """Say why a child that left no outcome is gone."""
    path, line = _fault_place(Path(job.scratch) / FAULTS)
    if killed:
        return make_error(
            "timeout",
            f"The script did not answer for {_GRACE_S:.0f} s after its limit of {job.time_limit_s:g} s.",
            path=path, line=line, fix="Raise --time-limit, or look at the line above.",
        )  # fmt: skip
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        why = " (out of memory on this machine?)" if name == "SIGKILL" else ""
        return make_error("aborted", f"The process was ended by {name}{why}.", path=path, line=line)
    return make_error("exited", f"The process ended with code {code} without a word.", path=path, line=line)


def _fault_place(path: Path) -> tuple[str | None, int | None]:
    """Return the user's innermost line from what faulthandler wrote."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None, None
    for match in _FAULT.finditer(text):
        file = match["path"]
        if "site-packages" in file or file.startswith("<frozen") or f"{os.sep}trainworthy{os.sep}" in file:
            continue
        if str(Path(os.__file__).parent) in file:
            continue
        return os.path.relpath(file), int(match["line"])
    return None, None
