"""Real gloo processes on this CPU: run a function or a script on N ranks, and record each rank's tape.

Processes are forked from a server that has imported torch once, so that a run of four ranks takes a
second. They get torchrun's variables, one thread, a limit of time and of memory, and files of their own:

    tapes = record_script(Path("examples/distributed/ddp_minimal.py"), 2, folder, args=("--width", "32"))

A run that fails raises ``GlooError``; the traceback of the rank that failed first stands last.
"""

from __future__ import annotations

import faulthandler
import json
import multiprocessing
import os
import pickle
import resource
import runpy
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.forkserver import ensure_running
from pathlib import Path
from typing import Any, TypeVar

from trainworthy import load_tape
from trainworthy.tape.record import Tape

_PRELOADED = [
    "pytest",  # a child imports the parent's main module
    "torch._dynamo",  # optimizers import it at their first step
    "torch.distributed.fsdp",
    "torch.distributed.optim",
    "torch.distributed.pipelining",
    "torch.distributed.tensor.parallel",
    "trainworthy.check.live.guard",
    "trainworthy.tape.file",
    "trainworthy.virtual.gpu",
    "distributed.programs",
    "truth.profiled",
]
_MEMORY_BYTES = 6 << 30
_GRACE_S = 3.0  # the others fail too once one has; what they say is worth having
_TAIL_LINES = 15
_KEPT: list[
    dict[str, Any]
] = []  # a script's globals: process groups taken down at once can deadlock with gloo's thread

Result = TypeVar("Result")


class GlooError(AssertionError):
    """Ranks failed or did not end in time."""


@dataclass(frozen=True)
class _Run:
    """What every rank of a run is told."""

    world_size: int
    port: int
    folder: Path
    limit_s: float

    def file(self, rank: int, suffix: str) -> Path:
        return self.folder / f"rank{rank}.{suffix}"


def run_ranks(function: Callable[[], Result], world_size: int, folder: Path, *, limit_s: float = 60.0) -> list[Result]:
    """Call ``function`` in ``world_size`` processes and return what each rank's call returned.

    ``function`` must be importable (a function of a module, or a ``partial`` of one) and initialises
    its process group itself. ``folder`` receives each rank's output, and its traceback if it fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(world_size, _free_port(), folder, limit_s)
    context = _context()
    processes = [context.Process(target=_rank_main, args=(function, run, rank)) for rank in range(world_size)]
    for process in processes:
        process.start()
    try:
        failed = _wait(processes, run)
    finally:
        for process in processes:
            process.kill()
            process.join()
    if failed:
        raise GlooError(_story(run, failed))
    return [pickle.loads(run.file(rank, "result").read_bytes()) for rank in range(world_size)]


def _context() -> ForkServerContext:
    """Return the context whose server has what ranks need imported; it finds this project where we do."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    try:
        ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
    return context


def record_function(
    function: Callable[[], object], world_size: int, folder: Path, *, limit_s: float = 60.0
) -> list[Tape]:
    """Run ``function`` on every rank under the live recorder and return the tapes, by rank."""
    run_ranks(partial(_recorded, function, folder), world_size, folder, limit_s=limit_s)
    return [load_tape(folder / f"rank{rank}.tape") for rank in range(world_size)]


def record_script(
    script: Path, world_size: int, folder: Path, *, args: Sequence[str] = (), limit_s: float = 60.0
) -> list[Tape]:
    """Run ``script`` on every rank as torchrun would, under the live recorder.

    What a script spawns itself (``mp.spawn``) is not recorded: hand its worker to ``record_function``.
    """
    return record_function(partial(_run_script, script.resolve(), tuple(args)), world_size, folder, limit_s=limit_s)


# --- in a rank's process ------------------------------------------------------------------------------


def _rank_main(function: Callable[[], object], run: _Run, rank: int) -> None:
    """Call ``function`` as one rank; leave its result, or its traceback, in files."""
    code = 1
    try:
        with run.file(rank, "stacks").open("w") as stacks:
            _become(run, rank)
            faulthandler.dump_traceback_later(run.limit_s, file=stacks)
            result = function()
            faulthandler.cancel_dump_traceback_later()
        run.file(rank, "result").write_bytes(pickle.dumps(result))
        code = 0
    except BaseException:  # SystemExit too: whoever leaves early has no result
        story = {"time_s": time.time(), "traceback": traceback.format_exc()}
        run.file(rank, "error").write_text(json.dumps(story))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # Not sys.exit: gloo's threads can abort a process that finalises right after a collective.
        os._exit(code)


def _become(run: _Run, rank: int) -> None:
    """Set what torchrun sets, the limits, and files for what is printed."""
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(run.world_size), LOCAL_WORLD_SIZE=str(run.world_size),
        GROUP_RANK="0", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(run.port), TORCHELASTIC_RUN_ID="gloo",
        TORCHELASTIC_USE_AGENT_STORE="False", TORCHELASTIC_RESTART_COUNT="0", TORCHELASTIC_MAX_RESTARTS="0",
        GLOO_SOCKET_IFNAME="lo", CUDA_VISIBLE_DEVICES="", OMP_NUM_THREADS="1",
    )  # fmt: skip
    os.chdir(run.folder)
    log = os.open(run.file(rank, "log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY_BYTES, _MEMORY_BYTES))
    import torch

    torch.set_num_threads(1)


def _recorded(function: Callable[[], object], folder: Path) -> None:
    import trainworthy as tw

    with tw.record() as live:
        function()
    live.tape.save(folder / f"rank{os.environ['RANK']}.tape")


def _run_script(script: Path, args: tuple[str, ...]) -> None:
    sys.argv = [str(script), *args]
    sys.path.insert(0, str(script.parent))
    try:
        _KEPT.append(runpy.run_path(str(script), run_name="__main__"))
    except SystemExit as leave:
        if leave.code:
            raise


# --- in the parent --------------------------------------------------------------------------------------


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait(processes: list[ForkServerProcess], run: _Run) -> dict[int, tuple[float, str]]:
    """Wait for all; return what went wrong: rank, when, and in what words."""
    # The stacks are written when the limit is reached, by the processes themselves.
    deadline = time.monotonic() + run.limit_s + 1.0
    failed: dict[int, tuple[float, str]] = {}
    waiting = dict(enumerate(processes))
    while waiting and (left := deadline - time.monotonic()) > 0:
        wait([p.sentinel for p in waiting.values()], timeout=left)
        for rank, process in list(waiting.items()):
            if process.exitcode is None:
                continue
            del waiting[rank]
            if process.exitcode != 0:
                if not failed:
                    deadline = min(deadline, time.monotonic() + _GRACE_S)
                failed[rank] = _why(run, rank, process.exitcode)
    for rank in waiting:
        if failed:
            failed[rank] = (time.time(), "was still running and was ended\n" + _tail(run.file(rank, "log")))
        else:
            stacks = run.file(rank, "stacks").read_text()
            failed[rank] = (0.0, f"had not ended after {run.limit_s:g} s; it stood at\n{stacks}")
    return failed


def _why(run: _Run, rank: int, exitcode: int) -> tuple[float, str]:
    error = run.file(rank, "error")
    if error.exists():
        story: dict[str, Any] = json.loads(error.read_text())
        return story["time_s"], "failed\n" + story["traceback"]
    return time.time(), f"died with exit code {exitcode}\n" + _tail(run.file(rank, "log"))


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]) if log.exists() else ""


def _story(run: _Run, failed: dict[int, tuple[float, str]]) -> str:
    """Tell of all failures, the first one last."""
    latest_first = sorted(failed.items(), key=lambda item: item[1][0], reverse=True)
    parts = [f"rank {rank} {words.rstrip()}" for rank, (_, words) in latest_first]
    head = f"{len(failed)} of {run.world_size} ranks did not end well; the first of them is told last"
    return "\n\n".join([f"{head} (files in {run.folder})", *parts])
