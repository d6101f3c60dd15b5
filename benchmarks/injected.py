"""Mistakes put into public code: how often does the static check see one that it could not know?

``python -m benchmarks.injected --root DIR`` takes the projects of ``ecosystem.toml`` from clones in ``DIR``, finds
where each kind of mistake of ``injected_*.py`` can be made in them, makes it at up to
``--most`` places a kind and project (drawn by hash), checks the file within its project with the rules that are about
the kind, and asks for a finding that was not there before. It prints the table and writes ``results/injected.json``.

A project is in the half "train" or "test" by the parity of the first digit of sha256(its name), even being train.
Rules are worked on with the places of "train" (``--half train --show``); "test" is only counted. Code and style are
those of the projects; the mistakes are made by edits of one to three lines, so this says how well rules carry over to
other people's style, and nothing about which mistakes people make; for that see ``bug_pairs``.

``--label before``, run with the package of an older commit, keeps what its rules see at the same places beside it.

A place where the mistake would have no effect, in the eyes of whoever read it, is listed with its reason in
``injected.toml`` and not counted.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from benchmarks import injected_loops, injected_losses, injected_models, injected_runs  # noqa: F401  (of the kinds)
from benchmarks.bug_pairs import function_at
from benchmarks.common import read_result, write_result
from benchmarks.ecosystem import lay_out
from benchmarks.ecosystem import manifest as projects
from benchmarks.injected_program import KINDS, Injection, Kind, Program
from trainworthy.check.config import Config
from trainworthy.check.run import check_file
from trainworthy.check.static.project import Project

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).resolve().parent
Row = dict[str, Any]
LARGEST_BYTES = 200_000  # of a file: what is larger is data or generated
MOST_FILES = 150  # of a project that speak of torch
WITHOUT_EFFECT = ("repository", "path", "function", "kind")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="folder of clones")
    parser.add_argument("--half", choices=("train", "test"), help="only this half, which is written alone")
    parser.add_argument("--kind", default="", help="only kinds whose name or rules contain this; nothing is written")
    parser.add_argument("--only", default="", help="only projects whose name contains this; nothing is written")
    parser.add_argument("--most", type=int, default=2, help="places a kind and project")
    parser.add_argument("--show", action="store_true", help="print what is missed")
    parser.add_argument("--label", default="now", help="name of this measurement in the result file")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    kinds = [one.name for one in KINDS if options.kind in f"{one.name} {' '.join(one.codes)}"]
    chosen = [
        one
        for one in projects()["repository"]
        if options.only in one["name"] and options.half in (None, half_of(one["name"])) and "package" not in one
    ]
    with ProcessPoolExecutor(options.jobs) as pool:
        given = ((one, Path(options.root), kinds, options.most) for one in chosen)
        rows = []
        for work in as_completed([pool.submit(_tried, one) for one in given]):
            tried_here = without_effect(work.result())
            rows += tried_here
            for row in tried_here:
                if options.show and not row["found"] and row["half"] == "train":
                    place = f"{row['repository']} {row['path']}:{row['line']} {row['function']}"
                    print(f"missed: {row['kind']}: {place}", flush=True)
    show(rows)
    if not (options.kind or options.only):
        known = read_result("injected") or {}
        kept = known.get("measurements", {})
        missed = sorted(
            (row for row in rows if row["half"] == "train" and not row["found"]),
            key=lambda row: tuple(map(str, row.values())),
        )
        write_result(
            "injected",
            most=options.most,
            kinds={one.name: {"row": one.row, "codes": one.codes} for one in KINDS},
            measurements={**kept, options.label: {**kept.get(options.label, {}), **counted(rows)}},
            missed_of_train=missed or known.get("missed_of_train", []),
        )


def half_of(repository: str) -> str:
    """Return the half of a project."""
    return "test" if int(hashlib.sha256(repository.encode()).hexdigest()[0], 16) % 2 else "train"


def _tried(given: tuple[Row, Path, list[str], int]) -> list[Row]:
    project, root, names, most = given
    sys.setrecursionlimit(6000)
    kinds = [one for one in KINDS if one.name in names]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        lay_out(project, root, folder)
        (folder / ".git").mkdir(exist_ok=True)  # where the project begins
        return list(tried(project, folder, kinds, most))


def tried(project: Row, folder: Path, kinds: Iterable[Kind], most: int) -> Iterator[Row]:
    """Make the mistakes in one project, one at a time, and say which are found."""
    programs = dict(readable(folder / project.get("under", "."), folder))
    for one in kinds:
        for path, injection, mistaken in drawn(programs, one, most):
            file = folder / path
            original = file.read_bytes()
            file.write_bytes(mistaken)
            new = said(file, one)
            users = (
                [] if new else importers(file, folder)
            )  # what is wrong in two files is said of the one that shows it
            new = new.union(*(said(each, one) for each in users))
            file.write_bytes(original)
            new -= said(file, one).union(*(said(each, one) for each in users)) if new else set()
            yield {
                "repository": project["name"],
                "half": half_of(project["name"]),
                "path": path,
                "line": injection.line,
                "function": function_at(programs[path].text, injection.line) or "-",
                "kind": one.name,
                "row": one.row,
                "found": sorted({code for code, _ in new}),
            }


def readable(folder: Path, top: Path) -> Iterator[tuple[str, Program]]:
    """Yield files that parse; of a large project none, since each check reads much of it."""
    files = [file for file in folder.rglob("*.py") if "torch" in file.read_text(encoding="utf-8", errors="replace")]
    for file in sorted(files) if len(files) <= MOST_FILES else ():
        if file.stat().st_size <= LARGEST_BYTES:
            try:
                yield file.relative_to(top).as_posix(), Program(file.read_bytes())
            except (SyntaxError, ValueError, RecursionError):
                continue


def drawn(programs: dict[str, Program], kind: Kind, most: int) -> list[tuple[str, Injection, bytes]]:
    """Draw places by the hash of file and line, so that a run draws the same."""
    places = [(path, one) for path, program in programs.items() for one in kind.places(program)]
    taken: list[tuple[str, Injection, bytes]] = []
    for path, injection in sorted(places, key=lambda one: _order(f"{one[0]} {one[1].line} {kind.name}")):
        mistaken = programs[path].apply(injection)
        if mistaken is not None:
            taken.append((path, injection, mistaken))
        if len(taken) == most:
            break
    return taken


def _order(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def said(file: Path, kind: Kind) -> set[tuple[str, str]]:
    """Return code and message of what the kind's rules say of a file, and the how many-th of these it is."""
    if not kind.codes:
        return set()
    result = check_file(str(file), Config(select=kind.codes), project=Project())
    times: Counter[str] = Counter()
    found = set()
    for one in result.findings:
        text = f"{one.place.path} {one.message}"
        times[text] += 1
        found.add((one.code, f"{text} {times[text]}"))
    return found


def importers(file: Path, folder: Path, most: int = 2) -> list[Path]:
    """Return some files near one that import it: whoever checks the project checks them, too."""
    package = [file.parent.name] if (file.parent / "__init__.py").exists() else []  # which hands it on
    names = "|".join(map(re.escape, [file.stem, *package]))
    imports = re.compile(rf"^\s*(from|import)\b.*\b({names})\b", re.MULTILINE)
    near = (
        one
        for above in (file.parent, file.parent.parent)
        if above.is_relative_to(folder)
        for one in above.rglob("*.py")
    )
    found = [one for one in dict.fromkeys(near) if one != file and imports.search(one.read_text(errors="replace"))]
    return sorted(found, key=lambda one: _order(one.name))[:most]


def without_effect(rows: list[Row]) -> list[Row]:
    """Leave out the places where the mistake has no effect."""
    file = HERE / "injected.toml"
    listed = tomllib.loads(file.read_text(encoding="utf-8"))["place"] if file.exists() else []
    known = {tuple(one[name] for name in WITHOUT_EFFECT) for one in listed}
    return [row for row in rows if tuple(row[name] for name in WITHOUT_EFFECT) not in known]


def counted(rows: list[Row]) -> dict[str, dict[str, dict[str, int]]]:
    """Count found and made, by half and kind."""
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for row in rows:
        count = counts.setdefault(row["half"], {}).setdefault(row["kind"], {"found": 0, "made": 0})
        count["made"] += 1
        count["found"] += bool(row["found"])
    return counts


def show(rows: list[Row]) -> None:
    """Print found of made, by kind and half."""
    counts = counted(rows)
    for name in (one.name for one in KINDS):
        shown = [counts.get(half, {}).get(name, {"found": 0, "made": 0}) for half in ("train", "test")]
        if any(one["made"] for one in shown):
            print(f"{name:<60}" + "".join(f"{one['found']:>6} of {one['made']:<4}" for one in shown))
    for half, kinds in counts.items():
        made, found = (sum(one[what] for one in kinds.values()) for what in ("made", "found"))
        print(f"all of {half}: {found} of {made}")


if __name__ == "__main__":
    main()
