"""The catalogue of mistakes told again: each row in two other forms, as other people would write it.

``tests/cases/retold/P029a.py`` and ``P029b.py`` (some rows have ``c``, ``d`` or ``e``) hold row P029's mistake behind
other spellings of the same interface, helper functions, settings and classes, within a program that is right
otherwise. They were written from the catalogue alone, without sight of the rules. ``# BUG`` marks the lines that may
be named. ``# FIX:`` lines take the place of the marked line above them in the right version of the program, and
``# FIX+:`` lines are added to it.

A mistake is found if, at the depth that the row names, a rule speaks of a marked line, and not of the right version;
it is seen elsewhere if one of the row's own rules speaks of another line. What rules that are on by default say of a
right version is listed, too.

    python -m benchmarks.retold [P029 P030a ...]

Programs are run in this process's children, two at a time, on one thread each.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from benchmarks.catalogue import read_manifest, read_rows
from benchmarks.common import ROOT, read_result, write_result

PROGRAMS = ROOT / "tests" / "cases" / "retold"
TIME_LIMIT_S = 120
# What was named on a marked line when the programs were written, before any rule was changed for them; eleven live
# ones, whose loaders have workers, could not be run then.
FIRST_LOOK = {"date": "2026-11-28", "static": "28 of 94", "dry": "15 of 76", "live": "26 of 127"}
# A third telling of 40 rows (``c``), written when rules had been widened for the first two: named on a marked line, and
# by one of the row's rules elsewhere.
THIRD = {"programs": 40, "named": 8, "elsewhere": 7}
# A fourth telling of 40 rows that had no third (``d``), drawn by chance; rules were widened meanwhile, without sight of
# it, by what is computed rather than how it is written. Before that, and after it.
FOURTH = {"programs": 40, "named": 10, "elsewhere": 9, "before": {"named": 8, "elsewhere": 9}}
# A fifth telling of 24 rows of rehearsals and real steps (``e``), drawn by chance, when findings had learnt to name the
# line where things come about, and new rules were there. Before that, and after it: no difference in what was seen.
FIFTH = {"programs": 24, "named": 4, "elsewhere": 8, "before": {"named": 4, "elsewhere": 8}}
Told = list[tuple[str, int, str, str]]  # code, line (0: another file), severity, message


def versions(text: str) -> tuple[str, str]:
    """Return the wrong and the right version of a program; lines keep their numbers in both.

    >>> [one.split() for one in versions("a=1  # BUG | # FIX: a=2 | # FIX+: b=3".replace(" | ", chr(10)))]
    [['a=1'], ['a=2', 'b=3']]
    """
    wrong: list[str] = []
    right: list[str] = []
    marked: int | None = None  # where the line stands that the next one may replace
    for line in text.split("\n"):
        fix = re.match(r"(\s*)# FIX(\+?): ?(.*)", line)
        if fix:
            indent, added, code = fix.groups()
            if not added and marked is not None:
                right[marked] = ""
            wrong.append("")
            right.append(indent + code if code.strip() else "")
        else:
            bare = re.sub(r"\s*# BUG\s*$", "", line)
            marked = len(right) if bare != line else None
            wrong.append(bare)
            right.append(bare)
    return "\n".join(wrong), "\n".join(right)


def marked_lines(text: str) -> set[int]:
    """Return the numbers of the marked lines."""
    return {number for number, line in enumerate(text.split("\n"), start=1) if line.rstrip().endswith("# BUG")}


def told(program: str, depth: str) -> Told | str:
    """Check a program in a process of its own; a text says why nothing is known."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        os.write(write, json.dumps(_told_here(program, depth)).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    return json.loads(data) if data else "ended without a word, or ran for too long"


def _told_here(program: str, depth: str) -> Told | str:
    sys.path.insert(0, str(ROOT / "tests"))  # whose way to run a program at a depth this is
    from check.depths import findings

    signal.alarm(TIME_LIMIT_S)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for number in (1, 2):
            os.dup2(os.open("said", os.O_CREAT | os.O_WRONLY), number)
        try:
            found = findings(program, depth, Path(folder) / "program.py")
        except (Exception, SystemExit) as error:  # whatever a program raises
            return f"{type(error).__name__}: {error}"[:300]
    own = ("program.py", str(Path(folder) / "program.py"))
    return [(f.code, f.place.line if f.place.path in own else 0, f.severity, f.message[:200]) for f in found]


def row_of(path: Path, depth: str, codes: list[str]) -> dict[str, Any]:
    """Check both versions of a program; return what became of it."""
    text = path.read_text(encoding="utf-8")
    wrong, right = (told(one, depth) for one in versions(text))
    row: dict[str, Any] = {"program": path.stem, "depth": depth, "marked": sorted(marked_lines(text))}
    if isinstance(wrong, str) or isinstance(right, str):
        failed = " / ".join(one for one in (wrong, right) if isinstance(one, str))
        return {**row, "verdict": "failed", "says": failed, "right": []}
    alarms = {code for code, *_ in right}
    own = [(code, line) for code, line, *_ in wrong if code not in alarms]
    on_line = sorted({code for code, line in own if line in row["marked"]})
    near = sorted({code for code, _ in own if code in codes})
    verdict = "found" if on_line else "elsewhere" if near else "missed"
    return {**row, "verdict": verdict, "codes": on_line or near, "right": _by_default(right)}


def _by_default(alarms: Told) -> list[str]:
    from trainworthy.check.rule import all_rules

    rules = all_rules()
    return [f"{code} {severity} {line}: {message}" for code, line, severity, message in alarms if rules[code].default]


def main(words: list[str]) -> None:
    """Check all programs, or those named, and store the result; the other rows of a stored result stay."""
    import torch  # here rather than in every child

    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    depths, codes = {row.number: row.depth for row in read_rows()}, read_manifest()["codes"]
    paths = [path for path in sorted(PROGRAMS.glob("P*.py")) if not words or path.stem.startswith(tuple(words))]
    rows: dict[str, dict[str, Any]] = {one["program"]: one for one in (read_result("retold") or {}).get("rows", [])}
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
        numbers = {path: path.stem[:4] for path in paths}
        running = [pool.submit(row_of, path, depths[n], codes.get(n, [])) for path, n in numbers.items()]
        for each in as_completed(running):
            row = each.result()
            rows[row["program"]] = row
            print(row["program"], row["depth"], row["verdict"], *row.get("codes", ()), row.get("says", ""), flush=True)
    listed = [rows[path.stem] for path in sorted(PROGRAMS.glob("P*.py")) if path.stem in rows]
    write_result(
        "retold", summary=summary(listed), first_look=FIRST_LOOK, third=THIRD, fourth=FOURTH, fifth=FIFTH, rows=listed
    )
    print(summary(listed))


def summary(rows: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Count verdicts by depth, and right versions of which something is said that is no hint."""
    counts: dict[str, dict[str, int]] = {}
    for row in rows:
        of_depth = counts.setdefault(row["depth"], {})
        of_depth[row["verdict"]] = of_depth.get(row["verdict"], 0) + 1
        loud = any(one.split()[1] != "hint" for one in row["right"])
        of_depth["alarms"] = of_depth.get("alarms", 0) + loud
    return dict(sorted(counts.items()))


if __name__ == "__main__":
    main(sys.argv[1:])
