"""Several processes for one run: starting them, starting them again when one dies, joining and leaving.

:func:`launch` runs torch's elastic agent in this process. When a worker dies, the agent ends the others and starts all
of them anew (at most ``max_restarts`` times); they go on from the newest checkpoint.

Stock ``torchrun`` manages that only in some of the cases: its agent's store, with the addresses of the dead, is used
again by the new workers, which then wait for them (pytorch issues 135712 and 167288). So the agent is told to give each
round a store of its own (``TORCH_DISABLE_SHARE_RDZV_TCP_STORE``), and workers under a stock ``torchrun`` read and write
the store under a prefix that has the number of the restart.

A worker that ends on purpose has to leave by :func:`leave`: a code other than 0 would look like a death to the agent.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import os
import signal
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import torch

from trainworthy.errors import TrainError, TrainworthyError, UsageError
from trainworthy.train.ranks import Ranks
from trainworthy.train.signals import EXIT_INTERRUPTED, EXIT_REQUEUE

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

_LEAVE = "TRAINWORTHY_LEAVE_FILE"
_OWN_STORE = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"
INIT_TIMEOUT_S = 120.0
STEP_TIMEOUT_S = 1800.0


def is_worker() -> bool:
    """Return whether this process was started by a launcher, as one of the ranks of a run."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def launch(
    command: Sequence[str],
    *,
    procs: int,
    max_restarts: int = 3,
    environment: Mapping[str, str] | None = None,
    grace_s: int | None = None,
) -> int:
    """Run a command as ``procs`` ranks on this machine until it has ended; return what to leave with.

    Args:
        command: What each rank runs; the first word is a program.
        procs: Number of ranks.
        max_restarts: How often all ranks are started anew after one has died.
        environment: Variables for the ranks besides this process's.
        grace_s: How long ranks may take to save after a signal, before they are killed; None: what the variable
            ``TORCH_ELASTIC_SHUTDOWN_TIMEOUT`` says, else 30.

    Returns:
        0; or the code with which the ranks left (:func:`leave`), such as 143 after SIGTERM; or that of the rank that
        failed, 128 + n where the signal n killed it.

    Raises:
        UsageError: ``procs`` is not positive, or there are fewer GPUs.
    """
    if procs < 1:
        raise UsageError(f"--procs is {procs}; it must be at least 1.")
    if torch.cuda.is_available() and procs > torch.cuda.device_count():
        raise UsageError(
            f"--procs is {procs}, but this machine has {torch.cuda.device_count()} GPU(s).",
            fix="Give at most as many processes as GPUs.",
        )
    with tempfile.TemporaryDirectory(prefix="trainworthy-") as folder, _environment(environment or {}):
        note = Path(folder) / "leave"
        os.environ[_LEAVE] = str(note)
        os.environ[_OWN_STORE] = "1"
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // procs)))
        asked, failure = _run_agent(command, procs=procs, max_restarts=max_restarts, grace_s=grace_s)
        if note.exists():
            return int(note.read_text())
    if failure is not None:
        return _tell(failure)
    return {None: 0, signal.SIGINT: EXIT_INTERRUPTED}.get(asked, EXIT_REQUEUE)


def _run_agent(
    command: Sequence[str], *, procs: int, max_restarts: int, grace_s: int | None
) -> tuple[signal.Signals | None, ChildFailedError | None]:
    """Run torch's elastic agent; return the signal that ended it, or the failure of a rank."""
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    extra: dict[str, Any] = {}
    names = {each.name for each in dataclasses.fields(LaunchConfig)}
    if "signals_to_handle" in names:
        extra["signals_to_handle"] = "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"
    if "shutdown_timeout" in names:
        extra["shutdown_timeout"] = grace_s
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=procs,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=max_restarts,
        monitor_interval=0.1,
        **extra,
    )
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}
    try:
        elastic_launch(config, command[0])(*command[1:])
    except SignalException as error:
        return signal.Signals(error.sigval), None
    except ChildFailedError as error:
        return None, error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return None, None


def _tell(error: ChildFailedError) -> int:
    """Say which rank failed first, and return what to leave with."""
    rank, failure = error.get_first_failure()
    code = int(failure.exitcode)
    what = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    sys.stderr.write(f"Rank {rank} {what}, after the restarts that were allowed.\n")
    return 128 - code if code < 0 else code


@contextlib.contextmanager
def _environment(extra: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(extra)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def leave(code: int) -> NoReturn:
    """End this process with a code, in a way that the launcher does not take for a death.

    All ranks call it with the same code where they stop together (the end, a signal, the time limit). A rank that
    stops alone, because of an error, ends the others, and the run is not started anew: it would end the same way.
    """
    if _noted(code) and code in {EXIT_REQUEUE, EXIT_INTERRUPTED}:
        code = 0
    sys.exit(code)


def _noted(code: int) -> bool:
    """Tell the launcher, if there is ours, what the run ends with; the first rank that has something to tell counts."""
    note = os.environ.get(_LEAVE)
    if note is not None and code:
        with contextlib.suppress(FileExistsError), Path(note).open("x", encoding="utf-8") as file:
            file.write(str(code))
    return note is not None


@contextlib.contextmanager
def joined(
    device: str = "auto", *, init_timeout_s: float = INIT_TIMEOUT_S, step_timeout_s: float = STEP_TIMEOUT_S
) -> Iterator[Ranks]:
    """Join the other ranks, and part from them at the end; where there is no launcher, this process is alone.

    What holds gradients in flight (``DistributedDataParallel``) has to be gone at the end: its destructor can wait for
    a thread that waits for it (pytorch issue 56297).

    Args:
        device: ``auto``: the accelerator of this rank if there is one, else the CPU; or a device's name.
        init_timeout_s: How long to wait for the other ranks at the start.
        step_timeout_s: How long a rank may wait for the others later, before it ends with an error.

    Raises:
        TrainError: The other ranks did not come. (An error of this package that is raised *in* the context ends the run
            for good; any other is a death, after which the launcher starts all ranks anew.)
        UsageError: There is no such device.
    """
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    where = _device(device, local_rank)
    if not is_worker():
        yield Ranks(device=where)
        return
    note = os.environ.get(_LEAVE)
    if note is not None and Path(note).exists():  # started anew after a rank had left for good
        sys.exit(0)
    from torch import distributed

    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    try:
        _init(distributed, rank, size, where, init_timeout_s)
    except (RuntimeError, ValueError) as error:
        raise TrainError(
            f"Rank {rank} of {size} could not join the others: {str(error).splitlines()[0]}",
            where=f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}",
        ) from error
    later = timedelta(seconds=step_timeout_s)
    distributed.distributed_c10d._set_pg_timeout(later)  # the only way to have another timeout after the start
    group = distributed.new_group(backend="gloo", timeout=later) if size > 1 else None
    local_size = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    try:
        yield Ranks(rank=rank, size=size, local_rank=local_rank, local_size=local_size, device=where, group=group)
    except TrainworthyError as error:
        _noted(error.exit_code)  # it would come again
        raise
    # Not after an exception: the others may be gone, and the end of the process frees everything anyway.
    distributed.barrier(group)
    gc.collect()
    distributed.destroy_process_group()


def _init(distributed: Any, rank: int, size: int, device: torch.device, timeout_s: float) -> None:
    backend = "gloo" if device.type == "cpu" else f"cpu:gloo,{device.type}:{_BACKENDS.get(device.type, 'nccl')}"
    timeout = timedelta(seconds=timeout_s)
    store = None
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":  # a stock torchrun
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        agents = distributed.TCPStore(address, port, size, is_master=False, timeout=timeout)
        store = distributed.PrefixStore(f"attempt_{attempt}", agents)
    distributed.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=timeout)


_BACKENDS = {"cuda": "nccl", "xpu": "xccl"}


def _device(name: str, local_rank: int) -> torch.device:
    if name != "auto":
        try:
            return torch.device(name)
        except RuntimeError as error:
            raise UsageError(
                f"There is no device {name!r}: {str(error).splitlines()[0]}", where="train.device"
            ) from error
    if not torch.accelerator.is_available():
        return torch.device("cpu")
    kind = torch.accelerator.current_accelerator()
    device = torch.device(kind.type if kind is not None else "cpu", local_rank)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device
