"""Run public training scripts under the live guard and write down every finding, to be judged by reading the source.

    python benchmarks/guard_public.py --checkouts FOLDER --data FOLDER --work FOLDER [--only REPO...]

Scripts, arguments and data are those of ``compatibility.toml``; they run on the CPU, for a few steps.
The verdicts are in ``guard_verdicts.toml``; a finding without one counts as a false alarm.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import RESULTS
from compatibility import environment, folder_of

from trainworthy.check.live.command import check_live
from trainworthy.errors import TrainworthyError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).resolve().parent
REPOSITORIES = ("pytorch/examples", "karpathy/nanoGPT", "karpathy/minGPT", "eriklindernoren/PyTorch-GAN",
                "yunjey/pytorch-tutorial", "MorvanZhou/PyTorch-Tutorial", "hunkim/PyTorchZeroToAll",
                "graykode/nlp-tutorial")  # fmt: skip
WANTS_GPU = {"--accel", "--cuda", "--gpu", "device=cuda", "--device=cuda"}


def entries(only: list[str]) -> list[dict[str, Any]]:
    """Return the single-process scripts of the chosen repositories, each once."""
    raw = tomllib.loads((HERE / "compatibility.toml").read_text(encoding="utf-8"))["script"]
    found = {
        (e["repo"], e["script"]): e
        for e in reversed(raw)
        if e["repo"] in only and "script" in e and "world_size" not in e
    }
    return list(reversed(found.values()))


def arguments(entry: dict[str, Any], data: Path) -> list[str]:
    """Return the script's arguments, for a machine without a GPU."""
    words = shlex.split(entry.get("args", "").replace("{data}", str(data)))
    kept: list[str] = []
    for word in words:
        if kept and kept[-1] == "--gpu":
            kept.pop()
        elif word == "--gpu" or word not in WANTS_GPU:
            kept.append(word)
    if entry["repo"] == "karpathy/nanoGPT":
        small = "--batch_size=4 --block_size=64 --n_layer=2 --n_head=2 --n_embd=32 --gradient_accumulation_steps=2"
        kept = ["config/train_shakespeare_char.py", "--device=cpu", "--compile=False", "--eval_iters=2", *small.split()]
    return kept


def run(entry: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Run one script and return what was found."""
    cwd = folder_of(entry, options, "guard")
    script = os.path.relpath(options.work / "guard" / entry["repo"] / entry["script"], cwd)
    logs: list[Any] = []
    before, started, outside = Path.cwd(), time.perf_counter(), dict(os.environ)
    os.chdir(cwd)
    more = environment(entry, cwd, options)
    more["PYTHONPATH"] = os.pathsep.join(
        filter(None, [outside.get("PYTHONPATH"), entry.get("env", {}).get("PYTHONPATH", "").replace("{cwd}", str(cwd))])
    )
    os.environ.update(more)
    try:
        result = check_live(
            script,
            args=arguments(entry, options.data),
            steps=options.steps,
            time_limit_s=options.time_limit,
            on_log=logs.append,
        )
    except TrainworthyError as error:
        return {
            "repo": entry["repo"],
            "script": entry["script"],
            "steps": 0,
            "error": str(error)[:2000],
            "findings": [],
        }
    finally:
        os.chdir(before)
        os.environ.clear()
        os.environ.update(outside)
    failed = result.error and f"{result.error['kind']}: {result.error['message'][:300]}"
    return {
        "repo": entry["repo"], "script": entry["script"], "steps": result.steps, "error": failed,
        "seconds": round(time.perf_counter() - started, 1),
        "findings": [
            {k: f.to_dict()[k] for k in ("code", "name", "severity", "path", "line", "message")}
            for f in result.findings
        ],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=RESULTS / "guard_public.json")
    parser.add_argument("--checkouts", type=Path, required=True, help="holds OWNER/NAME")
    parser.add_argument("--data", type=Path, required=True, help="what compatibility_data.py made")
    parser.add_argument("--work", type=Path, required=True, help="a folder for copies of the checkouts")
    parser.add_argument("--only", nargs="*", default=list(REPOSITORIES))
    parser.add_argument("--steps", type=int, default=14)
    parser.add_argument("--time-limit", type=float, default=60.0)
    parser.add_argument("--match", default="", help="only scripts whose name holds this")
    options = parser.parse_args()
    options.work, options.data, options.packages = options.work.resolve(), options.data.resolve(), Path("/nonexistent")
    results = []
    for entry in entries(options.only):
        if options.match not in entry["script"]:
            continue
        work = options.work / "guard" / entry["repo"]
        if not work.exists():
            shutil.copytree(options.checkouts / entry["repo"], work, symlinks=True)
        results.append(run(entry, options))
        last = results[-1]
        print(f"{last['steps']:3d} {entry['repo']}/{entry['script']}  {last['error'] or ''}", flush=True)
        for f in last["findings"]:
            print(f"      {f['path']}:{f['line']} {f['code']} {f['severity']} {f['message']}", flush=True)
        options.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
