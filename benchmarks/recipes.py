"""Train every included recipe on the CPU, one thread, and keep what came out: quality, seconds, curves.

    python -m benchmarks.recipes                    # all of them, and each rehearsed on 1 and on 64 virtual GPUs
    python -m benchmarks.recipes --only digits,vae  # these anew; the others' rows stay

``docs/generate.py`` makes docs/recipes.md and its drawings of the result.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks.common import RESULTS, ROOT, write_result
from trainworthy.train.find_recipe import recipe_summaries

GPU = "h100-sxm-80gb"
MOST_SECONDS = 180.0  # of the processor: each recipe ends in less
_ROWS = 60  # of training, in the curves


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="names, with commas")
    parser.add_argument("--only-train", action="store_true", help="keep the rehearsals as they are")
    parser.add_argument("--only-rehearse", action="store_true", help="keep the training as it is")
    options = parser.parse_args()
    names = options.only.split(",") if options.only else list(recipe_summaries())
    for name in names:
        kept = stored().get(name, {})
        row = kept if options.only_rehearse else {**kept, **train(name)}
        if not options.only_train:
            row = {**row, "rehearsals": [rehearse(name, ranks) for ranks in (1, 64)]}
        write_result("recipes", recipes=dict(sorted({**stored(), name: row}.items())), threads=1)
        print(f"{name:15} {row['cpu_s']:6.1f} s  {row['quality']}", flush=True)
    rows = stored()
    late = [name for name, row in rows.items() if row["cpu_s"] > MOST_SECONDS]
    poor = [name for name, row in rows.items() if not row["quality"]["met"]]
    apart = [
        name for name, row in rows.items() if not all(each["verdict"] == "fits" for each in row.get("rehearsals", ()))
    ]
    print(f"too slow: {late}; below their quality: {poor}; do not rehearse: {apart}")
    return int(bool(late or poor or apart))


def stored() -> dict[str, Any]:
    path = RESULTS / "recipes.json"
    return dict(json.loads(path.read_text())["recipes"]) if path.exists() else {}


def train(name: str) -> dict[str, Any]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "trainworthy", "train", name, "--format", "json", "--output", f"{folder}/run"]
        began, used = time.perf_counter(), _children_s()
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        seconds, cpu_s = time.perf_counter() - began, _children_s() - used
        if done.returncode not in {0, 1}:
            raise SystemExit(f"{name} failed:\n{done.stderr}")
        found = json.loads(done.stdout)
        lines = (Path(folder) / "run" / "metrics.jsonl").read_text().splitlines()
    kept = ("step", "epoch", "metrics", "results", "quality", "settings")
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"), "seconds": round(seconds, 1),
        "cpu_s": round(cpu_s, 1), **{key: found[key] for key in kept}, "curves": curves(map(json.loads, lines)),
    }  # fmt: skip


def curves(rows: Any) -> list[dict[str, Any]]:
    """Keep every evaluation, and of the training a few dozen rows with their losses."""
    every = list(rows)
    training = [row for row in every if row["kind"] == "train"]
    step = -(-len(training) // _ROWS) if training else 1
    kept = [{key: value for key, value in row.items() if key in {"kind", "step"} or key.endswith("loss")}
            for row in training[step - 1 :: step]]  # fmt: skip
    return [*kept, *(row for row in every if row["kind"] == "evaluation")]


def rehearse(name: str, ranks: int) -> dict[str, Any]:
    """Rehearse a recipe as it is; the batch is made large enough that each rank has two samples."""
    command = [sys.executable, "-m", "trainworthy", "rehearse", "--format", "json", "--exit-zero", "--gpu", GPU]
    command += ["--world-size", str(ranks), "--gpus-per-node", "8"] if ranks > 1 else []
    command += ["-m", "trainworthy", "train", name, "--output", "/tmp/rehearsed"]
    command += ["train.batch_size=128"] if ranks > 1 else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    found = json.loads(done.stdout)
    return {
        "ranks": ranks, "verdict": found["verdict"], "seconds": round(time.perf_counter() - began, 1),
        "peak_memory_bytes": found["peak_memory_bytes"], "error": (found.get("error") or {}).get("message"),
    }  # fmt: skip


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
