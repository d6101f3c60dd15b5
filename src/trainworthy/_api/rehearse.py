"""``trainworthy.rehearse``: a script or a function on a virtual GPU; this module needs no torch."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainworthy._api.check_dry import add_dry_findings
from trainworthy._api.need_torch import need_torch
from trainworthy._api.rehearse_ranks import RankRunner, make_plan
from trainworthy.errors import TrainworthyError, UsageError
from trainworthy.virtual.script_job import TAPE, Job, Outcome
from trainworthy.virtual.script_parent import Log, Progress, run_job
from trainworthy.virtual.script_target import resolve_target

if TYPE_CHECKING:
    from trainworthy.inspect import RehearsalResult
    from trainworthy.tape.record import Tape


def rehearse(
    target: str | Path | Callable[[], Any],
    *,
    gpu: str | None = None,
    args: Sequence[str] = (),
    steps: int = 2,
    time_limit_s: float = 300.0,
    memory_limit_bytes: int | None = None,
    data: str | None = None,
    is_module: bool = False,
    world_size: int | None = None,
    gpus_per_node: int | None = None,
    rank: int | None = None,
    ranks: str | Iterable[int] | None = None,
    imitate_cpu: bool = False,
    on_progress: Progress | None = None,
    on_log: Callable[[Log], None] | None = None,
) -> RehearsalResult:
    """Run a script, or a function, on a virtual GPU for a few optimizer steps.

    A script, notebook, module or ``package.module:function`` runs in a process of its own and has
    no effect outside. A callable runs in this process, which is left as it was; what it returns
    says what a step is (see ``trainworthy.Step``).

    Args:
        target: A path, ``package.module:function``, a module name (with ``is_module``), or a callable.
        gpu: A row of ``hardware/`` such as ``"h100-sxm-80gb"``; None is a GPU without a memory limit.
        args: The script's own arguments.
        steps: How many optimizer steps to see.
        time_limit_s: When a script is stopped; what was seen until then is reported.
        memory_limit_bytes: How much memory of this machine a script may take.
        data: Shapes that stand in for a data set, such as ``"float32[3,224,224], int64[]<1000"``.
        is_module: Whether ``target`` is a module to run as with ``python -m``.
        world_size: How many ranks the virtual cluster has; None: the script runs without one.
        gpus_per_node: Ranks of one node; default: 8, or all of a smaller world.
        rank: The one rank to rehearse.
        ranks: Or several: ``"distinct"`` (the default; those that can differ), ``"all"``, or their numbers.
        imitate_cpu: Decompose operations as the CPU does, and count memory in exact bytes.
        on_progress: Called with ``{state, ops, steps}`` (on a cluster, ``rank`` too) a few times a second.
        on_log: Called at the end with what the script printed; on a cluster once a rank (``log.rank``).

    Returns:
        The answer; a script that fails is an answer too (``verdict == "failed"``). On a cluster it is that of the
        fullest rank, or of the first that failed, and ``cluster`` compares the ranks.

    Raises:
        UsageError: If there is no such script, or an argument makes no sense.
        UnknownGpuError: If ``gpu`` has no row.
    """
    _check(gpu, steps, time_limit_s, data)
    plan = make_plan(world_size, gpus_per_node, rank, ranks)
    if callable(target):
        if plan is not None:
            raise UsageError(
                "A function that was passed as an object runs here, without a cluster.", where="world_size",
                fix="Pass a script, or the function's name as 'package.module:function'.",
            )  # fmt: skip
        return _summarize([_rehearse_here(target, gpu, steps, imitate_cpu=imitate_cpu)])
    job = make_job(
        target, gpu=gpu, args=args, steps=steps, time_limit_s=time_limit_s, data=data, imitate_cpu=imitate_cpu,
        memory_limit_bytes=memory_limit_bytes, is_module=is_module,
    )  # fmt: skip
    if plan is not None:
        found = RankRunner(job, plan, _tape_of, on_progress=on_progress, on_log=on_log).run()
        return _summarize(list(found.tapes.values()), assume_others=plan.ranks == "distinct", note=found.note)
    _, tape, log = run_alone(job, on_progress)
    if on_log is not None:
        on_log(log)
    return _summarize([tape])


def make_job(
    target: str | Path, *, args: Sequence[str] = (), memory_limit_bytes: int | None = None, is_module: bool = False,
    **options: Any,
) -> Job:  # fmt: skip
    """Return what the child process is told; ``options`` are fields of a ``Job``."""
    return Job(
        target=str(target), kind=resolve_target(str(target), is_module=is_module), scratch="",
        args=tuple(map(str, args)), memory_limit_bytes=memory_limit_bytes or _most_memory_bytes(), **options,
    )  # fmt: skip


def run_alone(job: Job, on_progress: Progress | None = None) -> tuple[Outcome, Tape, Log]:
    """Run a job of one rank in a scratch folder of its own; return how it ended, its tape, and what it printed."""
    with tempfile.TemporaryDirectory(prefix="trainworthy-", ignore_cleanup_errors=True) as scratch:
        job = dataclasses.replace(job, scratch=scratch)
        outcome, log = run_job(job, on_progress)
        return outcome, _tape_of(job, outcome), log


def _check(gpu: str | None, steps: int, time_limit_s: float, data: str | None) -> None:
    if gpu is not None:
        from trainworthy.hardware import gpu_row

        gpu_row(gpu)
    if steps < 1:
        raise UsageError(f"steps is {steps}; at least one step must be seen.", where="--steps")
    if time_limit_s <= 0:
        raise UsageError(f"The time limit is {time_limit_s:g} s.", where="--time-limit", fix="Give seconds: 300.")
    if data is not None:
        from trainworthy.virtual.data_spec import parse_spec

        parse_spec(data)


def _most_memory_bytes() -> int | None:
    """Return nine tenths of what this machine has free, so that a script cannot bring it down."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:  # noqa: PTH123
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024 * 9 // 10
    except (OSError, ValueError):
        pass
    return None


def _summarize(tapes: Sequence[Tape], *, assume_others: bool = False, note: str | None = None) -> RehearsalResult:
    from trainworthy.inspect import summarize_ranks

    result = summarize_ranks(tapes, assume_others=assume_others, note=note)
    add_dry_findings(result)
    return result


def _tape_of(job: Job, outcome: Outcome) -> Tape:
    """Return the tape the child wrote, or an empty one that holds its error."""
    error = outcome.error
    if error is not None and error["kind"] in {"usage", "internal"}:
        if error["kind"] == "usage":
            raise UsageError(error["message"], where=error["path"], fix=error.get("fix"))
        raise TrainworthyError(error["message"], fix=error.get("trace"))
    path = Path(job.scratch) / TAPE
    if not path.exists():
        return _empty_tape(job, outcome)
    from trainworthy.tape.file import load_tape as load

    tape = load(path)
    return dataclasses.replace(tape, notes={**tape.notes, **_about_run(job, outcome)})


def _about_run(job: Job, outcome: Outcome) -> dict[str, Any]:
    error = dict(outcome.error) if outcome.error is not None else None
    log = error.pop("log", []) if error is not None else []
    stopped = error is not None and error["kind"] in {"timeout", "host-memory"}
    return {
        "error": error, "steps": outcome.steps, "steps_asked": job.steps, "script": job.target,
        "arguments": list(job.args), "log_tail": "\n".join(log) or None,
        "partial": error["message"] if error is not None and stopped else None,
    }  # fmt: skip


def _empty_tape(job: Job, outcome: Outcome) -> Tape:
    from trainworthy.hardware import gpu_row
    from trainworthy.tape.record import Source, Tape

    row = gpu_row(job.gpu) if job.gpu else None
    notes = {
        "gpu": row.id if row else None,
        "gpu_name": row.name if row else "virtual GPU",
        "driver_memory_bytes": row.memory_bytes if row else None,
        "context_bytes": row.context_bytes if row else 0,
        "assumptions": [], "workspace_bytes": 0, "compile_requested": False, "findings": [],
        "effects": [], **outcome.notes, **_about_run(job, outcome),
    }  # fmt: skip
    if job.world_size is not None:
        cluster = {"rank": job.rank, "world_size": job.world_size, "gpus_per_node": job.gpus_per_node}
        notes["cluster"] = cluster
    return Tape(signatures=(), sources=(Source("", 0),), modules=("",), classes=(), rows=(), segments=(), notes=notes)


def _rehearse_here(function: Callable[[], Any], gpu: str | None, steps: int, *, imitate_cpu: bool) -> Tape:
    need_torch("Rehearsing a function")
    from trainworthy.hardware import gpu_row
    from trainworthy.virtual.gpu import VirtualGpu
    from trainworthy.virtual.script_errors import describe_exception
    from trainworthy.virtual.script_step import run_steps
    from trainworthy.virtual.session import RehearsalComplete, Session

    virtual = VirtualGpu(gpu_row(gpu) if gpu else None, imitate_cpu=imitate_cpu)
    session = Session(virtual, steps=steps)
    error = None
    with virtual, session.installed():
        try:
            run_steps(function, session)
        except RehearsalComplete:
            pass
        except Exception as raised:  # whatever the function raises is the answer
            error = describe_exception(raised, virtual.recorder)
        name = getattr(function, "__qualname__", repr(function))
        return virtual.tape(error=error, steps=session.completed, script=name, findings=[], effects=[])
