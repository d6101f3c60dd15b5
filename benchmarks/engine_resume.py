"""Is a run that was killed in the middle of an epoch and continued bit-equal to one that was not? Ours and peers'.

    python -m benchmarks.engine_resume [PEER ...]

40 steps an epoch, 3 epochs, a checkpoint every 10 steps, ``kill -9`` in step 57, continued from the newest (50). Cases:
A plain; B with dropout; C with dropout and random augmentation in the dataset; D the same with two loader workers.

A peer passes where the checksum of all weights at the end is that of an undisturbed run. "order" says that it at least
got the same samples after step 50. Every peer's undisturbed run is made twice, so that a peer that is not deterministic
would be seen.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT, environment, write_result

CASES = {"A": "plain", "B": "dropout", "C": "dropout, random augmentation", "D": "the same with 2 workers"}
LIMIT_S = 600
PACKAGES = ("torch", "lightning", "accelerate", "transformers", "pytorch-ignite", "torchdata")


def left(folder: Path) -> tuple[str | None, list[list[Any]]]:
    """Return the checksum of the weights, and the samples of each step."""
    log, final = folder / "log.jsonl", folder / "final"
    steps = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return final.read_text() if final.exists() else None, steps


def compare(folder: Path) -> dict[str, Any]:
    """Compare a peer's runs of one case."""
    whole, steps = left(folder / "whole")
    again, _ = left(folder / "again")
    killed, log = left(folder / "killed")
    before = len((folder / "log-until-killed.jsonl").read_text().splitlines())
    after = log[before:]
    first = after[0][0] if after else None
    wanted = [order for step, order in steps if first is not None and step >= first]
    last_words = ((folder / "killed" / "errors").read_text().strip().splitlines() or [""])[-1][:200]
    return {
        "deterministic": whole is not None and whole == again,
        "exact": whole is not None and killed == whole,
        "order": bool(after) and [order for _, order in after] == wanted,
        "first_step": first,
        "weights": whole,
        "error": last_words if killed is None else None,
    }


def play(name: str, folder: Path) -> dict[str, dict[str, Any]]:
    """Run a peer in every case."""
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", "benchmarks.engine_resume_peers", name, str(folder)]
    env = {**environment(), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=ROOT, env=env, capture_output=True, timeout=LIMIT_S, check=True)
    return {case: compare(folder / case) for case in CASES}


def verdict(row: dict[str, Any]) -> str:
    """Say in a word how a case went."""
    return "exact" if row["exact"] else "order" if row["order"] else "-"


def main() -> None:
    from benchmarks.engine_resume_peers import PEERS

    names = sys.argv[1:] or list(PEERS)
    folder = Path(tempfile.mkdtemp(prefix="engine-resume-"))
    rows: dict[str, dict[str, Any]] = {}
    for place, name in enumerate(names):
        rows[name] = play(name, folder / str(place))
        words = [
            f"{case} {'exact' if row['exact'] else 'order' if row['order'] else '-'}"
            for case, row in rows[name].items()
        ]
        errors = {row["error"] for row in rows[name].values()} - {None}
        print(f"{name:50} {'  '.join(f'{word:8}' for word in words)} {'; '.join(errors)}", flush=True)
    same = {name: cases["C"]["weights"] == cases["D"]["weights"] for name, cases in rows.items()}
    if len(sys.argv) == 1:
        found = {name: _version(name) for name in PACKAGES}
        write_result("engine_resume", packages=found, cases=CASES, peers=rows, same_for_0_and_2_workers=same)
    shutil.rmtree(folder, ignore_errors=True)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
