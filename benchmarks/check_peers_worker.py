"""Runs one checker over many programs, each in a fork of its own: ``python check_peers_worker.py TOOL JOBS OUT``.

It imports nothing of ours but for our own tool, so that it runs in an environment that holds only the other ones.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

Run = Callable[[str, Path], list[str]]
_MAIN = {"__name__": "__main__"}
_AT_A_TIME = 8


def execute(program: str, path: Path) -> None:
    """Run a program as a script."""
    names: dict[str, Any] = {**_MAIN, "__file__": str(path)}
    exec(compile(program, str(path), "exec"), names)


def plain(program: str, path: Path) -> list[str]:
    """Run it and look at nothing."""
    execute(program, path)
    return []


def trainworthy(program: str, path: Path) -> list[str]:
    """Run it under the guard, with all rules, and read the source; hints are left out but for what they name."""
    sys.path[:0] = [str(Path(__file__).resolve().parents[1] / part) for part in ("src", "tests")]
    from trainworthy.check.config import Config
    from trainworthy.check.live.guard import Guard
    from trainworthy.check.run import check_file, collect
    from trainworthy.check.static.project import Project

    result = collect([check_file(str(path), Config(), data=program.encode(), project=Project())], Config())
    guard = Guard(steps=20, roots=(str(path.parent),))
    found = list(result.findings)
    try:
        with guard:
            execute(program, path)
    finally:
        guard.close()
    return [f.code for f in [*found, *guard.findings] if f.severity != "hint"]


def torch_audit(program: str, path: Path) -> list[str]:
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
        execute(program, path)
    finally:
        results = [auditor.finish(report=False) for auditor in auditors]
    found = [f for result in results for f in result.findings]
    return sorted({f.rule_id for f in found if str(getattr(f.severity, "name", f.severity)).upper() != "INFO"})


def trainproof(program: str, path: Path) -> list[str]:
    """Log loss and learning rate of each step, and let ``epoch`` judge the log."""
    log: list[dict[str, float]] = []
    rates: list[float] = []
    backward = torch.Tensor.backward

    def logged(loss: Any, *args: Any, **kwargs: Any) -> Any:
        if loss.numel() == 1:
            log.append({"step": len(log) + 1, "loss": float(loss), "learning_rate": rates[-1] if rates else 0.1})
        return backward(loss, *args, **kwargs)

    register_optimizer_step_pre_hook(
        lambda optimizer, *_: rates.append(float(optimizer.param_groups[0].get("lr", 0.0)))
    )
    tensors: Any = torch.Tensor
    tensors.backward = logged
    execute(program, path)
    file = path.with_suffix(".jsonl")
    file.write_text("".join(json.dumps(row) + "\n" for row in log), encoding="utf-8")
    from trainproof import cli

    sys.argv = ["trainproof", "epoch", str(file), "--json"]
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        cli.main()
    report = json.loads(out.getvalue() or "{}")
    findings = [f for one in report.get("reports", [report]) for f in one.get("findings", [])]
    levels = {"FAIL", "WARN", "ERROR", "WARNING"}
    return sorted({
        str(f.get("rule_id") or f.get("id") or f.get("rule"))
        for f in findings
        if str(f.get("severity") or f.get("level") or f.get("verdict") or f.get("status")).upper() in levels
    })  # fmt: skip


TOOLS: dict[str, Run] = {
    "plain": plain, "trainworthy": trainworthy, "torch-audit": torch_audit, "trainproof": trainproof,
}  # fmt: skip


def in_a_fork(tool: Run, program: str, folder: Path) -> int:
    """Run one program in a child that leaves its answer in ``folder``; return the child's number."""
    child = os.fork()
    if child:
        return child
    os.chdir(folder)
    began = resource.getrusage(resource.RUSAGE_SELF)
    codes: list[str] = []
    crashed, said = False, io.StringIO()
    sys.stdout = io.StringIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with contextlib.redirect_stderr(said):
                path = folder / "program.py"
                path.write_text(program, encoding="utf-8")
                codes = tool(program, path)
    except BaseException:  # whatever happens is the answer
        crashed = True
        said.write(traceback.format_exc(limit=-2))
    ended = resource.getrusage(resource.RUSAGE_SELF)
    seconds = ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime
    (folder / "answer.json").write_text(json.dumps({
        "codes": codes, "crashed": crashed, "seconds": seconds, "said": said.getvalue()[-400:] if crashed else "",
    }))  # fmt: skip
    os._exit(0)


def answer_in(folder: Path) -> dict[str, Any]:
    """Read what a child left; a child that died left nothing."""
    file = folder / "answer.json"
    if not file.exists():
        return {"codes": [], "crashed": True, "seconds": 0.0, "said": "died"}
    result: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return result


def main() -> None:
    """Run all jobs, a few at a time; CPU seconds do not mind."""
    tool, jobs, out = sys.argv[1:4]
    programs = json.loads(Path(jobs).read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name, one["name"]) for one in programs]
        running: set[int] = set()
        for one, folder in zip(programs, folders, strict=True):
            folder.mkdir()
            running.add(in_a_fork(TOOLS[tool], one["program"], folder))
            while len(running) >= _AT_A_TIME:
                running.discard(os.wait()[0])
        while running:
            running.discard(os.wait()[0])
        answers = [{"name": one["name"], **answer_in(folder)} for one, folder in zip(programs, folders, strict=True)]
    Path(out).write_text(json.dumps(answers), encoding="utf-8")


if __name__ == "__main__":
    main()
