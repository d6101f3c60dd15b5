"""Kill one of three ranks at a random moment: does the run go on by itself, and end as if nothing had happened?

    python -m benchmarks.engine_elastic [--runs 8]

The run of ``engine_runs`` is started by the launcher (torch's elastic agent in one process, ranks in others), made
slower so that a kill hits it in training. One rank gets SIGKILL; nobody does anything else. A run passes if it leaves
with 0 after exactly one restart, and weights, buffers, optimizer state and metrics are as undisturbed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import engine_runs as runs
from benchmarks.common import ROOT, environment, write_result

RANKS, LIMIT_S = 3, 400.0
OPTIONS = {"batch_size": 18, "micro_batch_size": 2}
_BETWEEN_STEPS_S = 0.03


def rank_main(folder: Path) -> None:
    """Be one rank, as started by the launcher."""
    import torch

    from trainworthy.train.engine import train
    from trainworthy.train.launch import leave

    torch.set_num_threads(1)
    rank, restart = os.environ["RANK"], os.environ["TORCHELASTIC_RESTART_COUNT"]
    (folder / f"rank{rank}-{restart}.pid").write_text(str(os.getpid()))
    recipe, digest = runs.recipe(OPTIONS), runs.Digest()
    phase = recipe.phases[0]

    def slowly(model: Any, batch: Any) -> Any:
        time.sleep(_BETWEEN_STEPS_S / 3)  # a step has three micro-batches
        return phase.loss(model, batch)

    recipe = dataclasses.replace(recipe, phases=(dataclasses.replace(phase, loss=slowly),), evaluate=phase.loss)
    outcome = train(recipe, folder=folder / "run", watchers=(digest,), quiet=True)
    if rank == "0":
        resumed = outcome.resumed_from.name if outcome.resumed_from is not None else None
        ending = {"digest": digest.value, "resumed": resumed, "restarts": int(restart)}
        (folder / "ending.json").write_text(json.dumps(ending))
    leave(outcome.exit_code)


def launcher_main(folder: Path) -> None:
    """Start the ranks, and start them again."""
    from trainworthy.train.launch import launch

    command = [sys.executable, "-m", "benchmarks.engine_elastic", "--rank", str(folder)]
    sys.exit(launch(command, procs=RANKS, max_restarts=3))


def start(folder: Path) -> subprocess.Popen[bytes]:
    """Start a launcher in a process of its own."""
    folder.mkdir(parents=True)
    env = {**environment(), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, "-m", "benchmarks.engine_elastic", "--launcher", str(folder)]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log, start_new_session=True)


def finished(process: subprocess.Popen[bytes], folder: Path) -> dict[str, Any]:
    """Wait, and return how it ended."""
    try:
        code: int | None = process.wait(LIMIT_S)
    except subprocess.TimeoutExpired:
        code = None
        for path in folder.glob("*.pid"):  # ranks are sessions of their own
            _kill(int(path.read_text()))
        _kill(process.pid)
        process.wait()
    ending = folder / "ending.json"
    return {"code": code, **(json.loads(ending.read_text()) if ending.exists() else {})}


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def disturbed(folder: Path, rng: random.Random) -> dict[str, Any]:
    """Run, and kill a rank after some step."""
    process = start(folder)
    step = rng.randint(runs.SAVE_EVERY, runs.STEPS - 8)
    rank = rng.randrange(RANKS)
    metrics = folder / "run" / "metrics.jsonl"
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline and process.poll() is None:
        if metrics.exists() and metrics.read_bytes().count(b'"train"') >= step:
            time.sleep(rng.uniform(0, 2 * _BETWEEN_STEPS_S))
            _kill(int((folder / f"rank{rank}-0.pid").read_text()))
            break
        time.sleep(0.002)
    return {"killed_rank": rank, "in_step": step, **finished(process, folder)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=8)
    parser.add_argument("--rank", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--launcher", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.rank:
        rank_main(arguments.rank)
    if arguments.launcher:
        launcher_main(arguments.launcher)
    folder = Path(tempfile.mkdtemp(prefix="engine-elastic-"))
    whole = finished(start(folder / "whole"), folder / "whole")
    wanted = runs.metrics(folder / "whole")
    print("undisturbed", whole, flush=True)
    rows = []
    for number in range(arguments.runs):
        where = folder / str(number)
        row = disturbed(where, random.Random(number))
        row["equal"] = row.get("digest") == whole["digest"]
        row["same_metrics"] = row["code"] == 0 and runs.metrics(where) == wanted
        row["passed"] = row["code"] == 0 and row["equal"] and row["same_metrics"] and row["restarts"] == 1
        rows.append(row)
        print(number, row, flush=True)
        if not row["passed"]:
            print((where / "log").read_text(errors="replace")[-3000:], flush=True)
    passed = sum(row["passed"] for row in rows)
    print(f"{passed} of {len(rows)} went on by themselves and ended as if undisturbed")
    if arguments.runs == 8:
        write_result("engine_elastic", ranks=RANKS, undisturbed=whole, runs=rows, passed=passed)
    shutil.rmtree(folder, ignore_errors=True)
    raise SystemExit(passed != len(rows))


if __name__ == "__main__":
    main()
