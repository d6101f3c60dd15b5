"""Programs that a script starts: queries run, ``nvidia-smi`` is answered, nothing else is started."""

from __future__ import annotations

import ast
import os
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainworthy.virtual.effects import Effects

# Programs that only say something. git: with a query as its first word.
_QUERIES = frozenset({
    "uname", "hostname", "whoami", "nproc", "lscpu", "free", "uptime", "date", "which", "ldconfig",
    "getconf", "arch", "id", "lsb_release", "sw_vers", "sysctl", "true", "false", "echo", "pwd",
    "ls", "cat", "head", "tail", "wc",
})  # fmt: skip
_GIT_QUERIES = frozenset({
    "rev-parse", "status", "log", "describe", "diff", "show", "branch", "ls-files", "remote",
    "config", "version", "--version",
})  # fmt: skip


class _LetRun(threading.local):
    """Whether the program about to start was looked at (the audit hook asks)."""

    on = False


LET_RUN = _LetRun()


def install_processes(effects: Effects) -> None:
    """Replace what starts programs."""
    policy = _Policy(effects)
    init = subprocess.Popen.__init__

    def __init__(self: Any, args: Any, *more: Any, **options: Any) -> None:  # noqa: N807
        args = policy.replace(args, options)
        before, LET_RUN.on = LET_RUN.on, True
        try:
            init(self, args, *more, **options)
        finally:
            LET_RUN.on = before

    subprocess.Popen.__init__ = __init__  # type: ignore[method-assign]
    os.system = policy.system
    for name in ("spawnv", "spawnve", "spawnl", "spawnle", "spawnlp", "spawnvp", "spawnvpe", "spawnlpe"):
        if hasattr(os, name):
            setattr(os, name, policy.spawn)
    _run_spawned_functions_here(effects)


class _Policy:
    def __init__(self, effects: Effects) -> None:
        self._effects = effects
        self._true = shutil.which("true") or "/bin/true"
        self._echo = shutil.which("echo") or "/bin/echo"
        self._cat = shutil.which("cat") or "/bin/cat"

    def replace(self, args: Any, options: dict[str, Any]) -> Any:
        """Return what to run instead of ``args``; changes ``options`` to fit."""
        words = _words(args)
        if _is_query(words):
            return args
        if words and Path(words[0]).name == "nvidia-smi":
            return self._nvidia_smi(words, options)
        if words[:2] == ["stty", "size"]:  # progress bars ask; there is no terminal here
            options.update(shell=False, executable=None)
            return [self._echo, "24", "80"]
        self._effects.note("process", " ".join(words)[:200])
        options.update(shell=False, executable=None)
        return [self._true]

    def _nvidia_smi(self, words: Sequence[str], options: dict[str, Any]) -> list[str]:
        answer = Path(self._effects.scratch) / "nvidia-smi.txt"
        answer.write_text(_smi_answer(self._effects.gpu, words), encoding="utf-8")
        self._effects.note("process", " ".join(words)[:200])
        options.update(shell=False, executable=None)
        return [self._cat, str(answer)]

    def system(self, command: Any) -> int:
        """Stand in for ``os.system``."""
        return subprocess.call(os.fsdecode(command), shell=True)

    def spawn(self, mode: int, file: Any, *args: Any) -> int:
        """Stand in for the ``os.spawn`` family."""
        self._effects.note("process", os.fsdecode(file))
        return 0


def _smi_answer(gpu: str | None, words: Sequence[str]) -> str:
    """Answer ``--query-gpu=FIELD,...`` from the row of the virtual GPU; a field it lacks is [N/A]."""
    from trainworthy.hardware import gpu_row

    row = gpu_row(gpu) if gpu else None
    total = row.memory_bytes >> 20 if row else 0
    known = {
        "name": row.name if row else "virtual GPU", "gpu_name": row.name if row else "virtual GPU", "count": "1",
        "index": "0", "memory.total": f"{total} MiB", "memory.free": f"{total} MiB", "memory.used": "0 MiB",
        "utilization.gpu": "0 %", "compute_cap": ".".join(map(str, row.compute_capability)) if row else "9.0",
    }  # fmt: skip
    query = next((word.partition("=")[2] for word in words if word.startswith("--query-gpu=")), None)
    if query is None:
        return f"GPU 0: {known['name']} (virtual GPU of a rehearsal)\n"
    values = [known.get(field.strip(), "[N/A]") for field in query.split(",")]
    if any("nounits" in word for word in words):
        values = [value.removesuffix(" MiB").removesuffix(" %") for value in values]
    return ", ".join(values) + "\n"


def _words(args: Any) -> list[str]:
    if isinstance(args, (str, bytes, os.PathLike)):
        try:
            return shlex.split(os.fsdecode(args))
        except ValueError:
            return [os.fsdecode(args)]
    return [os.fsdecode(a) for a in args]


def _is_query(words: Sequence[str]) -> bool:
    if words and Path(words[0]).name.startswith("python"):
        return _is_question_to_python(words[1:])
    if not words or any(mark in word for word in words for mark in (">", ";", "|", "&", "`", "$(")):
        return False
    program = Path(words[0]).name
    if program == "git":
        rest = [w for w in words[1:] if not w.startswith(("-C", "--git-dir", "--no-pager"))]
        return bool(rest) and (rest[0] in _GIT_QUERIES or (len(rest) > 1 and rest[1] in _GIT_QUERIES))
    return program in _QUERIES


# What libraries ask another Python for: its version or its search path.
_ASKED_MODULES = frozenset({"json", "platform", "site", "sys", "sysconfig"})


def _is_question_to_python(words: Sequence[str]) -> bool:
    """Whether Python is only asked what it is: ``--version``, or ``-c`` that prints what a few modules say."""
    if list(words) in (["--version"], ["-V"]):
        return True
    if len(words) != 2 or words[0] != "-c":
        return False
    try:
        statements = ast.parse(words[1]).body
    except (SyntaxError, ValueError):
        return False
    return all(_only_asks(statement) for statement in statements)


def _only_asks(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Import):
        return all(alias.name in _ASKED_MODULES and alias.asname is None for alias in statement.names)
    if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Call):
        return False
    plain = (ast.Call, ast.Name, ast.Attribute, ast.Constant, ast.expr_context)
    names = [node.id for node in ast.walk(statement.value) if isinstance(node, ast.Name)]
    return all(isinstance(node, plain) for node in ast.walk(statement.value)) and {*names} <= {*_ASKED_MODULES, "print"}


def _run_spawned_functions_here(effects: Effects) -> None:
    """Run what ``torch.multiprocessing.spawn`` would start: one rank of it, in this process."""
    from trainworthy.virtual.effects_imports import when_imported

    def spawn(fn: Callable[..., Any], args: tuple[Any, ...] = (), nprocs: int = 1, *more: Any, **options: Any) -> None:
        number = _number_of_process(effects, nprocs)
        effects.note("loop", f"torch.multiprocessing.spawn: process {number} of {nprocs} ran, in the rehearsal's own")
        fn(number, *args)

    def patch(module: Any) -> None:
        module.spawn = spawn
        package = sys.modules.get("torch.multiprocessing")
        if package is not None:
            package.spawn = spawn  # type: ignore[attr-defined]

    def patch_start(module: Any) -> None:
        process = module.BaseProcess
        start = process.start

        started: dict[Any, int] = {}

        def start_or_run(self: Any) -> None:
            target: Any = getattr(self, "_target", None)
            if effects.cluster is not None and getattr(target, "__module__", None) == "__main__":
                number = started[target] = started.get(target, -1) + 1
                effects.note("loop", f"{target.__name__}: of the processes that run it, one ran, here")
                self._popen = _Ended()
                if number == effects.cluster.rank:
                    self.run()
                return
            if not _carries_model((*self._args, *self._kwargs.values())):
                start(self)
                return
            effects.note("loop", "a process that was given a model ran here instead, one after the other")
            self._popen = _Ended()
            self.run()

        process.start = start_or_run

    when_imported("multiprocessing.process", patch_start)
    when_imported("torch.multiprocessing.spawn", patch)
    when_imported("torch.multiprocessing", patch)


def _number_of_process(effects: Effects, started: int) -> int:
    """Return which of the processes that a script starts is the rank of this rehearsal."""
    cluster = effects.cluster
    if cluster is None:
        return 0
    if started > cluster.world_size:
        from trainworthy.virtual.cluster import ClusterError

        raise ClusterError(
            f"The script starts {started} processes; the virtual cluster has {cluster.world_size} GPUs.",
            where="torch.multiprocessing.spawn", fix=f"Rehearse with --world-size {started}.",
        )  # fmt: skip
    return cluster.local_rank if started == cluster.processes_per_node else cluster.rank % started


class _Ended:
    """What ``multiprocessing.Process`` keeps of the program it started: one that ended well."""

    pid, returncode, sentinel = os.getpid(), 0, 0

    def poll(self, flag: int = 0) -> int:
        return 0

    def wait(self, timeout: float | None = None) -> int:
        return 0

    def close(self) -> None:
        """There is nothing to close."""

    terminate = kill = close


def _carries_model(values: Sequence[Any]) -> bool:
    """Tell whether a module, an optimizer or a virtual tensor is handed over: these stay in this process."""
    torch = sys.modules.get("torch")
    if torch is None or "torch.multiprocessing" not in sys.modules:
        return False
    return any(
        isinstance(v, (torch.nn.Module, torch.optim.Optimizer))
        or (isinstance(v, torch.Tensor) and hasattr(v.untyped_storage(), "_tw_device"))
        for v in values
    )
