"""Kill runs at random moments, spoil their checkpoints, start them again: do they end as if undisturbed?

    python -m benchmarks.engine_kills               the full one: 100 kills, 20 of every other kind
    python -m benchmarks.engine_kills --trials 2    two of every kind

Each trial disturbs a run once, finds out by itself (with zlib and json, not with the engine) which checkpoint is the
newest that is whole, starts the same run again, and asks: did it go on from that one? are weights, buffers, optimizer
state and logged metrics bit-equal to those of a run that nothing happened to?

==================  ================================================================================================
kill -9             SIGKILL to one random rank (or to all) at a random moment, also before the first step or in a save
SIGTERM             to all ranks at a random moment; they have to save and leave with 143
disk full           the file system of the run's folder is filled up at a random moment, with a random rest
truncated           killed, then a random file of the newest checkpoint is cut at a random length
flipped bit         killed, then one random bit of a random file of the newest checkpoint is flipped
half written        killed, then the newest checkpoint loses a random part of its files, as in an interrupted copy
==================  ================================================================================================
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import resource
import shutil
import signal
import tempfile
import time
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import engine_runs as runs
from benchmarks.common import read_result, write_result
from benchmarks.engine_disk import fill, small_file_system

KINDS = {"kill -9": 100, "SIGTERM": 20, "disk full": 20, "truncated": 20, "flipped bit": 20, "half written": 20}
LIMIT_S = 400.0
_NEVER_HIT = "the run was never hit before its end"
_TURNS = (
    0,
    2,
    1,
    0,
    2,
    3,
    0,
    2,
    1,
    4,
)  # places in VARIANTS; sharded ones start slowly, so less often


@dataclass(slots=True)
class Reference:
    """A run that nothing happened to."""

    digest: str
    metrics: list[dict[str, Any]]
    seconds: float


@dataclass(slots=True)
class Trial:
    """What was done to a run, and how it ended."""

    kind: str
    variant: str
    seed: int
    done: str = ""
    damaged: str | None = None
    codes: list[int | None] = field(default_factory=list)
    newest: str | None = None
    resumed: str | None = None
    equal: bool = False
    same_metrics: bool = False
    problems: list[str] = field(default_factory=list)


def reference(variant: runs.Variant, folder: Path) -> Reference:
    """Run undisturbed, from the start."""
    shutil.rmtree(folder, ignore_errors=True)
    began = time.monotonic()
    running = runs.start(variant, folder)
    codes = running.codes(LIMIT_S)
    ending = running.ending()
    if any(codes) or ending is None:
        raise SystemExit(f"{variant.name}: the undisturbed run ended with {codes}\n{running.log()}")
    return Reference(ending["digest"], runs.metrics(folder), time.monotonic() - began)


def sound(checkpoints: Path) -> list[str]:
    """Return the checkpoints that are whole, newest first; written without the engine's own code."""
    names = sorted((path.name for path in checkpoints.glob("step-*") if "." not in path.name), reverse=True)
    return [name for name in names if _is_whole(checkpoints / name)]


def _is_whole(folder: Path) -> bool:
    try:
        files = json.loads((folder / "manifest.json").read_text())["files"]
        for name, facts in files.items():
            content = (folder / name).read_bytes()
            if len(content) != facts["bytes"] or zlib.crc32(content) != facts["crc32"]:
                return False
    except (OSError, ValueError, KeyError):
        return False
    return True


def play(trial: Trial, expected: Reference, folder: Path) -> Trial:
    """Disturb a run, start it again, and note what happened."""
    rng = random.Random(f"{trial.kind} {trial.variant} {trial.seed}")
    variant = runs.VARIANTS[trial.variant]
    for attempt in range(8):  # until it is hit before its end
        shutil.rmtree(folder, ignore_errors=True)
        running = runs.start(variant, folder)
        try:
            hit = _DISTURB[trial.kind](trial, running, rng, expected.seconds * 0.7**attempt)
        finally:
            running.end()
        if hit:
            break
    else:
        trial.problems.append(_NEVER_HIT)
        return trial
    whole = [name for name in sound(folder / "run" / "checkpoints") if name != trial.damaged]
    trial.newest = whole[0] if whole else None
    again = runs.start(variant, folder)
    codes = again.codes(LIMIT_S)
    ending = again.ending()
    if any(codes) or ending is None:
        trial.problems.append(f"started again, it ended with {codes}: {again.log()[-1500:]}")
        return trial
    trial.resumed, trial.equal = ending["resumed"], ending["digest"] == expected.digest
    trial.same_metrics = runs.metrics(folder) == expected.metrics
    if trial.resumed != trial.newest:
        trial.problems.append(f"went on from {trial.resumed}, the newest that was whole is {trial.newest}")
    if not trial.equal:
        trial.problems.append("the state at the end differs")
    if not trial.same_metrics and trial.kind != "disk full":  # where rows of metrics had no room
        trial.problems.append("the metrics differ")
    return trial


# --- the kinds --------------------------------------------------------------------------------------------------------


def _kill(trial: Trial, running: runs.Running, rng: random.Random, seconds: float) -> bool:
    """Kill at any moment."""
    if running.wait_for(rng.uniform(0, seconds)):
        return False
    victims = [rng.choice(running.processes)] if rng.random() < 0.7 else running.processes
    for process in victims:
        process.kill()
    had_begun = (running.folder / "run" / "metrics.jsonl").exists()
    trial.codes = running.codes(30.0 if had_begun else 5.0)  # the others have to notice by themselves
    trial.done = f"killed {len(victims)} of {len(running.processes)}"
    if None in trial.codes and not had_begun:
        trial.done += ", before it had begun; the other, which waited for it to come, was ended too"
    elif None in trial.codes:
        trial.problems.append("a rank did not notice within 30 s that another had died")
    return -signal.SIGKILL in trial.codes


def _terminate(trial: Trial, running: runs.Running, rng: random.Random, seconds: float) -> bool:
    """Ask all ranks to stop."""
    _wait_for_saves(running, 1 if rng.random() < 0.5 else 2)
    running.wait_for(rng.uniform(0, seconds / 2))
    for process in running.processes:
        if process.exitcode is None and process.pid is not None:
            os.kill(process.pid, signal.SIGTERM)
    trial.codes = running.codes(30.0)
    trial.done = "asked to stop"
    if set(trial.codes) == {0}:
        return False
    if set(trial.codes) != {143}:
        trial.problems.append(f"left with {trial.codes} instead of 143: {running.log()[-800:]}")
    return True


def _fill_disk(trial: Trial, running: runs.Running, rng: random.Random, seconds: float) -> bool:
    """Fill the file system up, leaving a random rest that a checkpoint may begin to use; let the run end; make room."""
    folder = running.folder
    _wait_for_saves(running, rng.randint(1, 3))
    running.wait_for(rng.uniform(0, seconds / 4))
    rest = rng.randint(0, 80_000)
    ballast = folder.parent / "ballast"
    if os.path.ismount(folder.parent):
        trial.done = f"no space left but {rest:,} bytes"
        fill(ballast, folder.parent, rest)
    else:
        trial.done = f"files limited to {rest // 8:,} bytes"
        for process in running.processes:
            if process.exitcode is None and process.pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (rest // 8, resource.RLIM_INFINITY))
    trial.codes = running.codes(LIMIT_S)
    ballast.unlink(missing_ok=True)
    if set(trial.codes) == {0}:
        return False  # what was left was enough
    log = running.log()
    if "Traceback" in log or not set(trial.codes) <= {1, 0}:
        trial.problems.append(f"left with {trial.codes} and not with an error that is a sentence: {log[-1500:]}")
    return True


def _kill_with_two(trial: Trial, running: runs.Running, rng: random.Random, seconds: float) -> Path | None:
    """Kill when there are two checkpoints or more; return the newest."""
    _wait_for_saves(running, rng.randint(2, 5))
    if running.wait_for(rng.uniform(0, seconds / 4)):
        return None
    for process in running.processes:
        process.kill()
    trial.codes = running.codes(30.0)
    checkpoints = running.folder / "run" / "checkpoints"
    names = sound(checkpoints)
    if len(names) < 2:
        return None
    trial.damaged = names[0]
    return checkpoints / names[0]


def _truncate(trial: Trial, running: runs.Running, rng: random.Random, seconds: float) -> bool:
    newest = _kill_with_two(trial, running, rng, seconds)
    if newest is None:
        return False
    path = rng.choice(_files(newest))
    size = rng.randrange(path.stat().st_size)
    os.truncate(path, size)
    trial.done = f"{path.relative_to(newest)} of {newest.name} cut to {size:,} bytes"
    return True


def _flip(trial: Trial, running: runs.Running, rng: random.Random, seconds: float) -> bool:
    newest = _kill_with_two(trial, running, rng, seconds)
    if newest is None:
        return False
    path = rng.choice(_files(newest))
    content = bytearray(path.read_bytes())
    place, bit = rng.randrange(len(content)), rng.randrange(8)
    content[place] ^= 1 << bit
    path.write_bytes(content)
    trial.done = f"bit {bit} of byte {place:,} of {path.relative_to(newest)} of {newest.name}"
    return True


def _halve(trial: Trial, running: runs.Running, rng: random.Random, seconds: float) -> bool:
    newest = _kill_with_two(trial, running, rng, seconds)
    if newest is None:
        return False
    files = _files(newest)
    lost = rng.sample(files, rng.randint(1, len(files)))
    for path in lost:
        path.unlink()
    left_behind = newest.with_name("step-99999999.tmp")
    left_behind.mkdir()
    (left_behind / "state.json").write_text("{")
    trial.done = f"{newest.name} without {', '.join(sorted(str(path.relative_to(newest)) for path in lost))}"
    return True


_DISTURB = {
    "kill -9": _kill,
    "SIGTERM": _terminate,
    "disk full": _fill_disk,
    "truncated": _truncate,
    "flipped bit": _flip,
    "half written": _halve,
}


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _wait_for_saves(running: runs.Running, count: int) -> None:
    checkpoints = running.folder / "run" / "checkpoints"
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline and not running.wait_for(0.005):
        if sum("." not in path.name for path in checkpoints.glob("step-*")) >= count:
            return


# --- all of them ------------------------------------------------------------------------------------------------------


def plan(counts: dict[str, int], variants: list[str]) -> list[Trial]:
    """Return the trials: the variants in turn within each kind."""
    return [
        Trial(kind=kind, variant=variants[number % len(variants)], seed=number)
        for kind, count in counts.items()
        for number in range(count)
    ]


def run(trials: list[Trial], folder: Path, *, jobs: int = 1, say: Any = print) -> dict[str, Any]:
    """Play trials, ``jobs`` at a time; return them with the undisturbed runs they are compared with."""
    began = time.monotonic()
    reference(runs.VARIANTS[trials[0].variant], folder / "warm")  # the first start pays for the server's imports
    names = list(dict.fromkeys(trial.variant for trial in trials))
    references = {name: reference(runs.VARIANTS[name], folder / f"whole {place}") for place, name in enumerate(names)}
    done = itertools.count(1)
    mounts: list[bool] = []

    def play_some(job: int) -> None:
        with small_file_system(folder / f"small {job}") as mounted:
            mounts.append(mounted)
            for trial in trials[job::jobs]:
                small = folder / f"small {job}" / "run"
                play(trial, references[trial.variant], small if trial.kind == "disk full" else folder / f"trial {job}")
                verdict = "; ".join(trial.problems) or "equal"
                place = f"{next(done):4}/{len(trials)} {time.monotonic() - began:5.0f} s"
                say(f"{place}  {trial.kind:12}  {trial.variant}: {trial.done}; from {trial.resumed}: {verdict}")

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(play_some, range(jobs)))
    return {
        "trials": [asdict(trial) for trial in trials],
        "digests": {name: each.digest for name, each in references.items()},
        "disk_full_by": "a file system of its own" if all(mounts) else "a limit on the size of files",
        "seconds": round(time.monotonic() - began, 1),
        "kinds": summary(trials),
    }


def summary(trials: list[Trial]) -> dict[str, dict[str, int]]:
    """Count per kind: trials, resumed from the newest whole checkpoint, bit-equal, without any problem."""
    table = {}
    for kind in dict.fromkeys(trial.kind for trial in trials):
        mine = [trial for trial in trials if trial.kind == kind]
        table[kind] = {
            "trials": len(mine),
            "from_the_newest": sum(trial.resumed == trial.newest for trial in mine),
            "from_a_checkpoint": sum(trial.resumed is not None for trial in mine),
            "equal": sum(trial.equal for trial in mine),
            "without_problem": sum(not trial.problems for trial in mine),
        }
    return table


def merged(before: dict[str, Any], played: list[Trial], again: list[Trial], result: dict[str, Any]) -> dict[str, Any]:
    """Put trials that were played again, because they had never been hit, in their places."""
    assert all(before["digests"][name] == digest for name, digest in result["digests"].items())
    fresh = {(trial.kind, trial.variant, trial.seed): trial for trial in again}
    trials = [fresh.get((trial.kind, trial.variant, trial.seed), trial) for trial in played]
    kept = {name: before[name] for name in ("digests", "disk_full_by", "seconds")}
    return {"trials": [asdict(trial) for trial in trials], "kinds": summary(trials), **kept}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, help="of each kind; without it, 100 kills and 20 of each other kind")
    parser.add_argument("--only", help="one kind")
    parser.add_argument("--variant", help="one variant")
    parser.add_argument("--missed", action="store_true", help="play again the trials of the result that hit nothing")
    parser.add_argument("--jobs", type=int, default=2, help="trials at a time")
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    counts = {kind: arguments.trials or count for kind, count in KINDS.items() if arguments.only in {None, kind}}
    variants = [arguments.variant] if arguments.variant else [list(runs.VARIANTS)[place] for place in _TURNS]
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="engine-kills-"))
    trials = plan(counts, variants)
    before = read_result("engine_kills") if arguments.missed else None
    if before is not None:  # as when the machine's load fell after the undisturbed run was timed
        played = [Trial(**row) for row in before["trials"]]
        trials = [Trial(row.kind, row.variant, row.seed) for row in played if row.problems == [_NEVER_HIT]]
    result = run(trials, folder, jobs=arguments.jobs, say=lambda text: print(text, flush=True))
    if before is not None:
        result = merged(before, played, trials, result)
    for kind, row in result["kinds"].items():
        print(kind, row)
    print(Counter(trial["variant"] for trial in result["trials"]), f"{result['seconds']:.0f} s")
    if arguments.trials is None and arguments.only is None and arguments.variant is None:
        write_result("engine_kills", **result)
    shutil.rmtree(folder, ignore_errors=True)
    if any(trial["problems"] for trial in result["trials"]):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
