"""Runs one checker over many programs, each in a fork of its own: ``python check_peers_worker.py TOOL JOBS OUT``.

It imports nothing of ours but for our own tool, so that it runs in an environment that holds only the other ones.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import shutil
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

Job = dict[str, Any]
Found = list[tuple[str, int]]  # code and line; a tool that names no line says 0
Run = Callable[[Job, Path], Found]
_AT_A_TIME = 4
_CPU_LIMIT_S, _WALL_LIMIT_S = 20, 300
_STEPS = 30  # of a script that trains on


class EnoughSteps(BaseException):
    """Ends a script that has shown what it does."""


def execute(job: Job, path: Path) -> None:
    """Run a program as a script."""
    names: dict[str, Any] = {"__name__": "__main__", "__file__": str(path)}
    sys.argv = [str(path), *job["arguments"]]
    sys.path.insert(0, str(path.parent))
    with contextlib.suppress(EnoughSteps):
        exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), names)


def plain(job: Job, path: Path) -> Found:
    """Run it and look at nothing."""
    execute(job, path)
    return []


def static(job: Job, path: Path) -> Found:
    """Read the source."""
    _import_ours()
    from trainworthy.check.config import Config
    from trainworthy.check.run import check_file, collect
    from trainworthy.check.static.project import Project

    result = collect([check_file(str(path), Config(), data=job["text"].encode(), project=Project())], Config())
    return _places(result.findings)


def live(job: Job, path: Path) -> Found:
    """Read the source, and run it under the guard."""
    found = static(job, path)
    from trainworthy.check.live.guard import Guard

    guard = Guard(steps=20, roots=(str(path.parent),))
    with guard:
        execute(job, path)
    return [*found, *_places(guard.findings)]


def rehearse(job: Job, path: Path) -> Found:
    """Read the source, and rehearse it on the virtual GPU, as it was written for a GPU."""
    found = static(job, path)
    from trainworthy._api.check_dry import check_rehearsed

    path.write_text(job["written"] or job["text"], encoding="utf-8")
    dry, result = check_rehearsed(path, steps=2, time_limit_s=60.0)
    found += _places(dry)
    return [*found, ("raises", result.error["line"] or 0)] if result.error else found


def _import_ours() -> None:
    sys.path[:0] = [str(Path(__file__).resolve().parents[1] / part) for part in ("src", "tests")]


def _places(findings: Any) -> Found:
    return [(f.code, f.place.line) for f in findings if f.severity != "hint"]


def torch_audit(job: Job, path: Path) -> Found:
    """Let ``autopatch`` follow every optimizer from the moment it is made."""
    import gc

    from torch_audit import autopatch

    auditors: list[Any] = []
    made = torch.optim.Optimizer.__init__

    def watched(optimizer: Any, *args: Any, **kwargs: Any) -> None:
        made(optimizer, *args, **kwargs)
        mine = {id(p) for group in optimizer.param_groups for p in group["params"]}
        models = [m for m in gc.get_objects() if isinstance(m, torch.nn.Module)]
        holding = [m for m in models if any(id(p) in mine for p in m.parameters())]
        if holding:
            model = max(holding, key=lambda m: sum(1 for _ in m.modules()))
            auditors.append(autopatch(model, optimizer=optimizer, every_n_steps=1, reporters=[], run_static=True,
                                      run_init=True))  # fmt: skip

    optimizers: Any = torch.optim.Optimizer
    optimizers.__init__ = watched
    try:
        execute(job, path)
    finally:
        results = [auditor.finish(report=False) for auditor in auditors]
    found = [f for result in results for f in result.findings]
    return sorted({
        (f.rule_id, 0) for f in found if str(getattr(f.severity, "name", f.severity)).upper() != "INFO"
    })  # fmt: skip


def trainproof(job: Job, path: Path) -> Found:
    """Log loss, learning rate and gradient norm of each step, and let ``epoch`` judge the log."""
    log: list[dict[str, float]] = []
    backward = torch.Tensor.backward

    def logged(loss: Any, *args: Any, **kwargs: Any) -> Any:
        if loss.numel() == 1:
            log.append({"step": len(log) + 1, "loss": float(loss)})
        return backward(loss, *args, **kwargs)

    def stepped(optimizer: Any, *_: Any) -> None:
        groups = optimizer.param_groups
        grads = [p.grad.float().norm() ** 2 for group in groups for p in group["params"] if p.grad is not None]
        if log:
            log[-1]["learning_rate"] = float(groups[0].get("lr", 0.0))
            log[-1]["grad_norm"] = float(sum(grads)) ** 0.5

    register_optimizer_step_pre_hook(stepped)
    tensors: Any = torch.Tensor
    tensors.backward = logged
    execute(job, path)
    if not log:
        return []
    file = Path("log.jsonl")
    file.write_text("".join(json.dumps(row) + "\n" for row in log), encoding="utf-8")
    from trainproof import cli

    sys.argv = ["trainproof", "epoch", str(file), "--json"]
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        cli.main()
    findings = [f for one in json.loads(out.getvalue())["reports"] for f in one["findings"]]
    return sorted({(f["id"], 0) for f in findings if f["level"] in ("FAIL", "WARN")})


TOOLS: dict[str, Run] = {
    "plain": plain, "live": live, "rehearse": rehearse, "torch-audit": torch_audit,
    "trainproof": trainproof,
}  # fmt: skip


def in_a_fork(tool: Run, job: Job, folder: Path) -> int:
    """Run one program in a child that leaves its answer in ``folder``; return the child's number."""
    child = os.fork()
    if child:
        return child
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_LIMIT_S, _CPU_LIMIT_S + 5))
    signal.alarm(_WALL_LIMIT_S)
    began = cpu_seconds()
    found: Found = []
    crashed, said = False, io.StringIO()
    sys.stdout = io.StringIO()
    path = Path(job["path"]) if job["path"] else folder / "program.py"
    os.chdir(path.parent if job["path"] else folder)
    taken = [0]

    def count(*_: Any) -> None:
        taken[0] += 1
        if taken[0] >= _STEPS:
            raise EnoughSteps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with contextlib.redirect_stderr(said):
                if not job["path"]:
                    path.write_text(job["text"], encoding="utf-8")
                register_optimizer_step_post_hook(count)
                found = tool(job, path)
    except BaseException:  # whatever happens is the answer
        crashed = True
        said.write(traceback.format_exc(limit=-2))
    (folder / "answer.json").write_text(json.dumps({
        "found": found, "crashed": crashed, "seconds": cpu_seconds() - began, "steps": taken[0],
        "said": said.getvalue()[-400:] if crashed else "",
    }))  # fmt: skip
    os._exit(0)


def warm_up(tool: str) -> None:
    """Import what programs and tools import when they are first used; no fork pays for it."""
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout())
    optimizer = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    schedule.step()
    if tool in ("live", "rehearse"):
        _import_ours()
        from trainworthy.check.live.guard import Guard

        with Guard(steps=1):
            pass
    elif tool != "plain":
        __import__({"torch-audit": "torch_audit", "trainproof": "trainproof.cli"}[tool])


def cpu_seconds() -> float:
    """Return what this process and its children have used."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def answer_in(folder: Path) -> dict[str, Any]:
    """Read what a child left; a child that died, or that ran into a limit, left nothing."""
    file = folder / "answer.json"
    if not file.exists():
        return {"found": [], "crashed": True, "seconds": 0.0, "steps": 0, "said": "died, or took too long"}
    result: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return result


def is_answered(job: Job, folder: Path) -> bool:
    """Tell whether a folder holds the answer for this very job; otherwise make it ready for a run."""
    note, text = folder / "job.json", json.dumps(job)
    if (folder / "answer.json").exists() and note.exists() and note.read_text(encoding="utf-8") == text:
        return True
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    note.write_text(text, encoding="utf-8")
    return False


def main() -> None:
    """Run all jobs that have no answer yet, a few at a time; CPU seconds do not mind."""
    tool, jobs, out = sys.argv[1:4]
    programs = json.loads(Path(jobs).read_text(encoding="utf-8"))
    warm_up(tool)
    folders = [Path(out).parent / f"{tool}-answers" / one["name"] for one in programs]
    running: set[int] = set()
    for one, folder in zip(programs, folders, strict=True):
        if is_answered(one, folder):
            continue
        running.add(in_a_fork(TOOLS[tool], one, folder))
        while len(running) >= _AT_A_TIME:
            running.discard(os.wait()[0])
    while running:
        running.discard(os.wait()[0])
    answers = [{"name": one["name"], **answer_in(folder)} for one, folder in zip(programs, folders, strict=True)]
    Path(out).write_text(json.dumps(answers), encoding="utf-8")


if __name__ == "__main__":
    main()
