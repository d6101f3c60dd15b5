"""What the static check says of public projects, each finding with the verdict of whoever read the source.

``python -m benchmarks.ecosystem --root DIR`` checks the commits of ``ecosystem.toml`` from clones in ``DIR``
(``DIR/owner+name``, ``DIR/owner+name/repo`` or a bare one; packages come from the registry) with the defaults, joins
every finding with its verdict from ``ecosystem.toml`` and writes ``results/ecosystem.json``, which
``docs/ecosystem.md`` shows. A finding that no verdict is about is "unread", and is printed. ``--only TEXT`` checks the
repositories whose names contain it, prints what is unread and writes nothing; with ``--keep`` it writes them beside
what is known of the others, and joins all findings with the verdicts of now.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.bug_pairs import export, git_folder
from benchmarks.common import environment, read_result, write_result

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).resolve().parent
KEPT = ("path", "cell", "line", "code", "severity", "message")
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="folder of clones")
    parser.add_argument("--only", default="", help="of the names; nothing is written")
    parser.add_argument("--keep", action="store_true", help="write what --only takes; keep what is known of others")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    known = manifest()
    rows = [row for row in known["repository"] if options.only in row["name"]]
    with ThreadPoolExecutor(options.jobs) as pool:
        checked = list(pool.map(lambda row: check(row, Path(options.root)), rows))
    if options.keep:
        checked = beside_known(checked, known["repository"])
    findings = [{**one, **verdict(one, known["verdict"])} for _, found in checked for one in found]
    beyond_reading(findings, known["verdict"])
    for one in (one for one in findings if one["verdict"] == "unread"):
        print(f"unread: {one['repository']} {one['path']}:{one['line']} {one['code']} {one['message']}")
    for row, _ in checked:
        print(f"{row['repository']:<45} {row['lines']:>8} lines")
    print(Counter(one["verdict"] for one in findings))
    if options.keep or not options.only:
        write_result("ecosystem", repositories=[row for row, _ in checked], findings=findings)


def manifest() -> dict[str, Any]:
    """Read the repositories, the verdicts and what was mended."""
    return tomllib.loads((HERE / "ecosystem.toml").read_text(encoding="utf-8"))


def check(row: Row, root: Path) -> tuple[Row, list[Row]]:
    """Check one project."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lay_out(row, root, folder)
        (folder / ".git").mkdir(exist_ok=True)  # where the project begins
        command = [sys.executable, "-m", "trainworthy", "check", row.get("under", ".")]
        options = ["--isolated", "--format", "json", "--jobs", "1"]
        done = subprocess.run(
            [*command, *options], capture_output=True, text=True, check=False, env=environment(), cwd=folder
        )
        if done.returncode not in (0, 1):
            raise SystemExit(f"{row['name']}: {done.stderr.strip()[-400:]}")
    said = json.loads(done.stdout)
    findings = [{"repository": row["name"], **{name: one.get(name) for name in KEPT}} for one in said["findings"]]
    about = {"repository": row["name"], "commit": row["commit"], "mended": row["mended"]}
    return {**about, "under": row.get("under"), "files": said["files"], "lines": said["lines"]}, findings


def beside_known(checked: list[tuple[Row, list[Row]]], listed: list[Row]) -> list[tuple[Row, list[Row]]]:
    """Return what is checked and, of the other projects that are listed, what the result file knows."""
    result = read_result("ecosystem") or {"repositories": [], "findings": []}
    all_of = {row["repository"]: (row, findings) for row, findings in checked}
    for row in result["repositories"]:
        name = row["repository"]
        all_of.setdefault(name, (row, [one for one in result["findings"] if one["repository"] == name]))
    return [all_of[one["name"]] for one in listed if one["name"] in all_of]


def lay_out(row: Row, root: Path, folder: Path) -> None:
    """Write a project's source into a folder."""
    if "package" in row:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
        subprocess.run([*command, row["package"]], check=True, capture_output=True)
        for wheel in folder.glob("*.whl"):
            zipfile.ZipFile(wheel).extractall(folder)
        return
    git = git_folder(root, row["name"])
    if git is None or not export(git, row["commit"], folder):
        raise SystemExit(f"{row['name']}: no clone with {row['commit']} in {root}")


def verdict(finding: Row, verdicts: Iterable[Row]) -> Row:
    """Return the verdict on a finding: the one on its file before the one on its rule."""
    fitting = [
        one
        for one in verdicts
        if one["code"] == finding["code"] and all(one.get(name, finding[name]) == finding[name] for name in ABOUT)
    ]
    best = max(fitting, key=lambda one: sum(name in one for name in ABOUT), default=None)
    if best is None:
        return {"verdict": "unread", "reason": ""}
    return {"verdict": best["verdict"], "reason": best["reason"]}


ABOUT = ("repository", "path", "line")


def beyond_reading(findings: list[Row], verdicts: Iterable[Row]) -> None:
    """Call unread what is more than was read of a rule with one verdict for all."""
    for one in verdicts:
        if "read" in one:
            of_rule = [each for each in findings if each["code"] == one["code"] and each["reason"] == one["reason"]]
            for each in of_rule[one["read"] :]:
                each.update(verdict="unread", reason="")


if __name__ == "__main__":
    main()
