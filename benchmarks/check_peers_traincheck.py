"""TrainCheck on a bug: invariants of its right twin, checked on the bug, and on the twin run again.

TrainCheck learns from a run that is known to be good. The best that one can give it is the same program without the
bug. What it then reports of another run of that twin, with other random numbers, is its noise; what it reports of the
bug beyond this tells the two apart. Its tutorial says that invariants of order (``FunctionLeadRelation``,
``FunctionCoverRelation``) overfit a single run and are to be ignored; they are counted apart here.
"""

from __future__ import annotations

import json
import re
import resource
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from benchmarks.check_peers_corpora import Program
from benchmarks.common import environment

CPU_LIMIT_S = 60  # of each of the five commands
WALL_LIMIT_S = 1200
ORDER_ONLY = {"FunctionLeadRelation", "FunctionCoverRelation"}
_MODEL = re.compile(r"\b(?<!\.)(\w+)\.parameters\(\)")


def examine(env: str, bug: Program, right: Program, folder: Path) -> dict[str, Any]:
    """Learn from ``right``, check ``bug`` and ``right`` again; say what was violated and what it took.

    ``failed`` names the command that failed or took too long, if one did.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    models = sorted({name for name in _MODEL.findall(right.text) if name != "self"})
    track = ["--models-to-track", *models] if models else []
    texts = {"reference": right.text, "bug": bug.text, "again": right.text.replace("manual_seed(0)", "manual_seed(1)")}
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    steps = {
        "collect reference": ["collect", "--pyscript", "reference.py", *track, "--output-dir", "reference"],
        "infer": ["infer", "-f", "reference", "-o", "invariants.json"],
    }
    for name in ("bug", "again"):
        given = ["-i", "invariants.json"]
        steps[f"collect {name}"] = ["collect", "--pyscript", f"{name}.py", *track, *given, "--output-dir", name]
        steps[f"check {name}"] = ["check", "-f", name, *given, "-o", f"result-{name}", "--no-html-report"]
    answer: dict[str, Any] = {"name": bug.name, "seconds": {}}
    for step, words in steps.items():
        failed, answer["seconds"][step] = command(env, words, folder)
        if failed:
            return {**answer, "failed": step, "said": failed}
    with (folder / "invariants.json").open(encoding="utf-8") as file:
        answer["invariants"] = sum(1 for _ in file)
    return {**answer, **{name: violated(folder / f"result-{name}" / name) for name in ("bug", "again")}}


def command(env: str, words: list[str], folder: Path) -> tuple[str, float]:
    """Run one of its commands; return the last of what it said if it failed, and its CPU seconds."""
    started = resource.getrusage(resource.RUSAGE_CHILDREN)
    limit = f'ulimit -t {CPU_LIMIT_S}; exec {env}/bin/traincheck-{words[0]} "$@"'
    try:
        run = subprocess.run(
            ["bash", "-c", limit, "traincheck", *words[1:]], cwd=folder, capture_output=True, text=True, check=False,
            timeout=WALL_LIMIT_S, errors="replace",
            env={**environment(), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "PYTHONPATH": ""},
        )  # fmt: skip
        said = (run.stderr or run.stdout)[-300:] if run.returncode else ""
    except subprocess.TimeoutExpired:
        said = f"took more than {WALL_LIMIT_S} s"
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return said, round(ended.ru_utime + ended.ru_stime - started.ru_utime - started.ru_stime, 2)


def violated(folder: Path) -> dict[str, str]:
    """Read the violated invariants of a checked trace: what each says, and its kind."""
    summary = json.loads((folder / "violations_summary.json").read_text(encoding="utf-8"))
    return {one["display_name"]: one["relation_type"] for one in summary["violations"]}


def examine_all(env: str, pairs: list[tuple[Program, Program]], folder: Path, budget_s: float) -> list[dict[str, Any]]:
    """Examine pair after pair until the time is up; what was examined before, in this folder, is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    until, answers = time.monotonic() + budget_s, []
    for bug, right in pairs:
        kept = folder / f"{bug.name}.json"
        if not kept.exists():
            if time.monotonic() > until:
                continue
            answer = examine(env, bug, right, folder / "run")
            kept.write_text(json.dumps(answer), encoding="utf-8")
        answers.append(json.loads(kept.read_text(encoding="utf-8")))
        print("traincheck", bug.name, answers[-1].get("failed") or "", flush=True)
    return answers
