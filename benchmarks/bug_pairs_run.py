"""Mistakes that public projects mended, replayed at their depth: is each seen when the code runs, and gone in the fix?

``python -m benchmarks.bug_pairs_run --root DIR [--packages DIR]`` reads both commits of each pair of ``bug_pairs.toml``
that has a program in ``bug_pairs_runs``, puts the program beside the project's own code, and runs it under
``check --live N`` or ``check --rehearse``, or, if it calls ``trainworthy.probe`` itself, alone. ``--packages`` is a
folder with what the projects import and we do not have (``pip install --no-deps --target DIR einops einx beartype``).
``--only TEXT`` takes programs whose repository, fix or rule contains it, and writes nothing; ``--keep`` writes them
and keeps the other rows.

A program is the script that a user of that code would write: it imports the project's module as it is at the commit,
makes it small, invents data of natural shapes and trains or evaluates in the ordinary way. Both versions get the same
program. Its docstring ends in fields: ``fix`` (a beginning of the hash), ``depth`` (``live N``, ``rehearse``,
``probe``), ``expects`` (the rule that names the mistake, or ``-`` if no rule does), ``where`` (files in which the
finding must be; ``program`` is the program itself), ``says`` (what its message or evidence must hold), ``mended``
(another commit, where the pair's own does not run), ``needs`` (packages) and ``stands in`` (what it replaces of other
packages).

A failing fix says nothing of its parent: such a pair has failed. ``fix_says`` is all that is found in the mended
version.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import json
import runpy
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.bug_pairs import export, git_folder, manifest
from benchmarks.common import environment, read_result, write_result

PROGRAMS = Path(__file__).resolve().parent / "bug_pairs_runs"
PROGRAM, HELPERS = "train_on_invented_data.py", "stand_ins.py"  # names that no project has
TIME_LIMIT_S = 240.0
SHOWN = ("code", "name", "severity", "path", "line", "message")
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="folder of clones, as for bug_pairs")
    parser.add_argument("--packages", type=Path, help="folder of packages that the projects import")
    parser.add_argument("--only", action="append", default=[], help="of repository, fix or expected rule")
    parser.add_argument("--keep", action="store_true", help="write the part that --only takes; keep the other rows")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--probe", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.probe:
        probe(options.probe)
        return
    if options.root is None:
        parser.error("--root is missing")
    chosen = [one for one in programs() if wanted(one, options.only)]
    with ThreadPoolExecutor(options.jobs) as pool:
        rows = list(pool.map(lambda one: replay(one, options.root, options.packages), chosen))
    for row in rows:
        show(row)
    print(dict(Counter(row["verdict"] for row in rows)))
    if options.keep or not options.only:
        known = {row["fix"]: row for row in (read_result("bug_pairs_run") or {}).get("pairs", [])}
        listed = {one["pair"]["fix"] for one in programs()}
        kept = {fix: row for fix, row in known.items() if fix in listed} if options.keep else {}
        all_rows = [*{**kept, **{row["fix"]: row for row in rows}}.values()]
        write_result("bug_pairs_run", summary=dict(Counter(row["verdict"] for row in all_rows)), pairs=all_rows)


def programs() -> list[Row]:
    """Return the programs with their fields and their pairs."""
    pairs = manifest()
    found = []
    for path in sorted(PROGRAMS.glob("*.py")):
        if path.name == HELPERS:
            continue
        given = fields(path)
        matching = [pair for pair in pairs if pair["fix"].startswith(given["fix"])]
        if len(matching) != 1:
            raise SystemExit(f"{path.name}: {len(matching)} pairs have the fix {given['fix']!r}")
        found.append({"path": path, "pair": matching[0], **given})
    return found


def fields(path: Path) -> dict[str, str]:
    """Read the fields at the end of a program's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    lines = text.rpartition("\n\n")[2].splitlines()
    found = {name: value.strip() for name, colon, value in (line.partition(":") for line in lines) if colon}
    missing = {"fix", "depth", "expects", "where"} - set(found)
    if missing:
        raise SystemExit(f"{path.name}: its docstring lacks {', '.join(sorted(missing))}")
    return found


def wanted(program: Row, only: list[str]) -> bool:
    """Say whether a program is among those asked for."""
    text = " ".join((program["pair"]["repository"], program["pair"]["fix"], program["expects"]))
    return all(any(part in text for part in one.split(",")) for one in only)


def replay(program: Row, root: Path, packages: Path | None) -> Row:
    """Run both versions; ``found``, ``missed``, ``still there`` (in the fix, too), ``failed`` or ``no commit``."""
    pair = program["pair"]
    row = {name: pair[name] for name in ("repository", "parent", "fix", "path", "what")}
    row.update({name: program.get(name, "") for name in ("depth", "expects", "needs", "stands in")})
    git = git_folder(root, pair["repository"])
    mended = program.get("mended", pair["fix"]).split()[0]
    before, after = (run(program, git, one, packages) if git else None for one in (pair["parent"], mended))
    if before is None or after is None:
        return {**row, "verdict": "no commit"}
    errors = {name: one["error"] for name, one in (("parent", before), ("fix", after)) if one["error"]}
    here = [one for one in before["findings"] if expected(one, program)]
    vanished = gone(here, [one for one in after["findings"] if program.get("says", "") in one["said"]])
    verdict = "failed" if errors else "found" if vanished else "still there" if here else "missed"
    others = [one for one in gone(before["findings"], after["findings"]) if one not in vanished]
    return {
        **row, "verdict": verdict, "errors": errors, "found": shown(vanished or here), "others": shown(others),
        "fix_says": shown(after["findings"]),
    }  # fmt: skip


def expected(finding: Row, program: Row) -> bool:
    """Say whether a finding is of the expected rule and at an expected place."""
    places = [PROGRAM if one.strip() == "program" else one.strip() for one in program["where"].split(",")]
    said = program.get("says", "") in finding["said"]
    return finding["code"] == program["expects"] and finding["path"] in places and said


def gone(before: list[Row], after: list[Row]) -> list[Row]:
    """Return what is found in the parent and, in the same text, no longer in the fix."""
    still = {(one["code"], one["path"], one["text"]) for one in after}
    return [one for one in before if (one["code"], one["path"], one["text"]) not in still]


def run(program: Row, git: Path, commit: str, packages: Path | None) -> Row | None:
    """Run the program beside one version of the project; None if the commit is not there."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        if not export(git, commit, folder, data_too=True) or not (folder / program["pair"]["path"]).exists():
            return None
        (folder / ".git").mkdir(exist_ok=True)  # as in a clone: the whole folder is one project
        shutil.copy(program["path"], folder / PROGRAM)
        shutil.copy(PROGRAMS / HELPERS, folder / HELPERS)
        variables = environment()
        if packages is not None:
            variables["PYTHONPATH"] += f":{packages.resolve()}"
        done = subprocess.run(
            command(program["depth"], folder / PROGRAM), capture_output=True, text=True, check=False, cwd=folder,
            env={**variables, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        failed = next((line for line in done.stderr.splitlines() if "The script failed" in line), "")
        if not done.stdout.strip().endswith("}"):
            failed = failed or (done.stderr.strip() or done.stdout.strip() or "no output")[-300:]
            return {"findings": [], "error": failed.replace(f"{folder}/", "")}
        answer = json.loads(done.stdout[done.stdout.index("{") :])
        return {
            "findings": [placed(one, folder) for one in answer["findings"]],
            "error": failed.replace(f"{folder}/", ""),
        }


def command(depth: str, program: Path) -> list[str]:
    """Return the command line of a depth."""
    if depth == "probe":
        return [sys.executable, "-m", "benchmarks.bug_pairs_run", "--probe", str(program)]
    how = ["--live", depth.split()[1]] if depth.startswith("live") else ["--rehearse"]
    limit = ["--time-limit", f"{TIME_LIMIT_S:g}"]
    return [sys.executable, "-m", "trainworthy", "check", "--isolated", "--format", "json", *how, *limit, str(program)]


def probe(program: Path) -> None:
    """Run a program that calls the probe, and print what its ``result`` holds."""
    sys.path.insert(0, str(program.parent))
    with contextlib.redirect_stdout(sys.stderr):
        result = runpy.run_path(str(program), run_name="__main__")["result"]
    print(json.dumps({"findings": [one.to_dict() for one in result.findings], "skipped": result.skipped}))


def placed(finding: Row, folder: Path) -> Row:
    """Keep what is shown of a finding, with its path within the project and the text of its line."""
    path = Path(finding["path"])
    path = path if path.is_absolute() else folder / path
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    text = lines[finding["line"] - 1].strip() if 0 < finding["line"] <= len(lines) else ""
    inside = path.resolve().relative_to(folder).as_posix() if path.resolve().is_relative_to(folder) else path.name
    message = finding["message"].replace(f"{folder}/", "")
    said = "\n".join([message, *(one["text"] for one in finding["evidence"])])
    return {**{name: finding[name] for name in SHOWN}, "path": inside, "message": message, "text": text, "said": said}


def shown(findings: list[Row]) -> list[Row]:
    """Leave out what was for comparing only."""
    return [{name: one[name] for name in (*SHOWN, "text")} for one in findings]


def show(row: Row) -> None:
    """Print a row: what was found, and what else is said of either version."""
    print(
        f"{row['verdict']:<11} {row['expects']:<5} {row['depth']:<9} {row['repository']} {row['fix'][:8]} {row['what']}"
    )
    for name, error in row.get("errors", {}).items():
        print(f"    {name}: {error}")
    for title in ("found", "others", "fix_says"):
        for one in row.get(title, ()):
            print(f"    {title}: {one['code']} {one['path']}:{one['line']} {one['message']}")


if __name__ == "__main__":
    main()
