"""Mistakes that public projects mended: is each found in the parent commit, and gone in the fix?

``python -m benchmarks.bug_pairs --root DIR`` reads the commits of ``bug_pairs.toml`` from clones in ``DIR``
(``DIR/owner+name``, ``DIR/owner+name/repo`` or a bare one), checks both versions of each file within its project,
prints the table and writes ``results/bug_pairs.json``. ``--only TEXT`` takes pairs whose repository, code or half
contains it; ``--label before`` keeps the result under that name beside the others. With ``--keep`` a part is measured
and written, too, and the other pairs' rows stay.

A pair without a code is one for which there is no rule: it is missed, whatever is found. ``others`` lists what other
rules say at the expected place of the parent and no longer say of the fix; whoever reads the table decides whether one
of them names the mistake, and then writes its code into the manifest. Domain mistakes are counted apart.
"""

from __future__ import annotations

import argparse
import ast
import json
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.common import environment, read_result, write_result

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_MAX_DATA_BYTES = 2**22
HERE = Path(__file__).resolve().parent
Said = tuple[str, int, str]  # code, line and the line's text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="folder of clones")
    parser.add_argument("--only", action="append", default=[], help="of repository, code, half or depth")
    parser.add_argument("--label", default="now", help="name of this measurement in the result file")
    parser.add_argument("--keep", action="store_true", help="write the part that --only takes; keep the other rows")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    chosen = [one for one in manifest() if wanted(one, options.only)]
    with ThreadPoolExecutor(options.jobs) as pool:
        rows = list(pool.map(lambda pair: replay(pair, Path(options.root)), chosen))
    for row in rows:
        others = f" ({', '.join(row['others'])})" if row["others"] else ""
        place = f"{row['repository']} {row['fix'][:8]} {row['path']}"
        print(f"{row['verdict']:<11} {row['half']:<13} {row['code'] or '-':<5} {place}{others}")
    counts = {half: dict(Counter(r["verdict"] for r in rows if half_of(r) == half)) for half in halves(rows)}
    print(counts)
    if options.keep or not options.only:
        known = read_result("bug_pairs") or {}
        before = {name: value for name, value in known.get("measurements", {}).items() if name != options.label}
        measured = {key(row): row for row in rows}
        listed = {key(one) for one in manifest()}
        kept = {key(row): row for row in known.get("pairs", []) if key(row) in listed} if options.keep else {}
        write_result(
            "bug_pairs", measurements={**before, options.label: counts}, pairs=[*{**kept, **measured}.values()]
        )


def manifest() -> list[dict[str, Any]]:
    """Read the pairs."""
    pairs: list[dict[str, Any]] = tomllib.loads((HERE / "bug_pairs.toml").read_text(encoding="utf-8"))["pair"]
    return pairs


def wanted(pair: dict[str, Any], only: list[str]) -> bool:
    """Say whether a pair is among those asked for."""
    text = " ".join(str(pair[name]) for name in ("repository", "code", "half", "depth", "fix", "path"))
    return all(any(part in text for part in one.split(",")) for one in only)


def halves(rows: list[dict[str, Any]]) -> list[str]:
    """Return the halves that occur, in order."""
    return sorted({half_of(row) for row in rows})


def half_of(row: dict[str, Any]) -> str:
    """Name the half of a pair; domain mistakes make halves of their own."""
    return f"{row['half']}, domain" if row.get("kind") == "domain" else str(row["half"])


def key(row: dict[str, Any]) -> tuple[str, str]:
    """Tell pairs apart."""
    return row["fix"], row["path"]


def replay(pair: dict[str, Any], root: Path) -> dict[str, Any]:
    """Check both versions; ``found``, ``missed``, ``still there`` (in the fix, too) or ``no commit``."""
    names = ("repository", "parent", "fix", "path", "what", "depth", "code", "where", "half")
    row = {**{name: pair[name] for name in names}, "kind": pair.get("kind", "mechanism")}
    git = git_folder(root, pair["repository"])
    before = versions(git, pair, pair["parent"]) if git else None
    after = versions(git, pair, pair["fix"]) if git else None
    if git is None or before is None or after is None:
        return {**row, "verdict": "no commit", "lines": [], "others": []}
    mended = gone(before, after)
    verdict = "found" if mended else "still there" if before else "missed"
    others = said_besides(git, pair) if verdict == "missed" else []
    return {**row, "verdict": verdict, "lines": sorted({line for _, line, _ in mended or before}), "others": others}


def gone(before: list[Said], after: list[Said]) -> list[Said]:
    """Return what is said of the parent and, of the same text, no longer of the fix."""
    still = {(code, text) for code, _, text in after}
    return [one for one in before if (one[0], one[2]) not in still]


def said_besides(git: Path, pair: dict[str, Any]) -> list[str]:
    """Return the codes of the other rules that speak at the expected places until the fix."""
    before, after = (versions(git, {**pair, "code": "ALL"}, pair[name]) or [] for name in ("parent", "fix"))
    return sorted({code for code, _, _ in gone(before, after)})


def git_folder(root: Path, repository: str) -> Path | None:
    """Find the git directory of a clone."""
    base = root / repository.replace("/", "+")
    for one in (base / "repo" / ".git", base / ".git", base / "repo", base):
        if (one / "HEAD").exists():
            return one
    return None


def versions(git: Path, pair: dict[str, Any], commit: str) -> list[Said] | None:
    """Return the findings at the expected places of one commit; None if the file is not there."""
    if not pair["code"]:
        return []
    with tempfile.TemporaryDirectory() as folder:
        if not export(git, commit, Path(folder)) or not (Path(folder) / pair["path"]).exists():
            return None
        (Path(folder) / ".git").mkdir(exist_ok=True)  # as in a clone: the whole folder is one project
        files = [str(Path(folder) / one) for one in (pair["path"], *pair.get("check", ()))]
        options = ["--isolated", "--format", "json", "--select", pair["code"], "--jobs", "1"]
        command = [sys.executable, "-m", "trainworthy", "check", *files, *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment(), cwd=folder)
        if done.returncode not in (0, 1) or not done.stdout.strip():
            if "No rule" in done.stderr:
                return []  # a code that does not exist yet finds nothing
            raise SystemExit(f"{pair['repository']} {commit}: {done.stderr.strip()[-400:]}")
        found = [one for one in json.loads(done.stdout)["findings"] if pair["code"] in ("ALL", one["code"])]
        return placed(Path(folder), pair, found)


def placed(folder: Path, pair: dict[str, Any], found: list[dict[str, Any]]) -> list[Said]:
    """Keep the findings that stand at the expected places, with the text of their lines."""
    kept = []
    for one in found:
        path = Path(one["path"])
        name = (path if path.is_absolute() else folder / path).resolve().relative_to(folder.resolve()).as_posix()
        here = [
            place.partition("::")[2]
            for place in pair["where"].split(",")
            if place.partition("::")[0] == name and "::" in place
        ]
        here += [place for place in pair["where"].split(",") if "::" not in place and name == pair["path"]]
        if name.endswith(".ipynb"):
            if here:
                kept.append((one["code"], one["line"], f"cell {one['cell']}: {one['message']}"))
            continue
        text = (folder / name).read_text(encoding="utf-8", errors="replace")
        if "*" in here or (function_at(text, one["line"]) or "-") in here:
            kept.append((one["code"], one["line"], text.splitlines()[one["line"] - 1].strip()))
    return kept


def function_at(text: str, line: int) -> str:
    """Name the innermost function or class around a line; "" outside of them or in what does not parse."""
    best = ""

    def walk(node: ast.AST, outer: tuple[str, ...]) -> None:
        nonlocal best
        for child in ast.iter_child_nodes(node):
            inner = outer
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                inner = (*outer, child.name)
                if child.lineno <= line <= (child.end_lineno or 0):
                    best = ".".join(inner)
            walk(child, inner)

    try:
        walk(ast.parse(text), ())
    except SyntaxError:
        return ""
    return best


def export(git: Path, commit: str, folder: Path, *, data_too: bool = False) -> bool:
    """Write a commit's Python files and notebooks into a folder; what a partial clone lacks is left out.

    ``data_too`` takes all files of a megabyte or less: a program that runs may read them.
    """
    command = ["git", f"--git-dir={git}"]
    listed = subprocess.run([*command, "ls-tree", "-r", "-z", "--long", commit], capture_output=True, check=False)
    if listed.returncode:
        return False
    rows = [one.split("\t", 1) for one in listed.stdout.decode(errors="replace").split("\0") if "\t" in one]
    files = {}
    for path, (mode, kind, name, size) in ((path, meta.split()) for meta, path in rows):
        is_small = data_too and size.isdecimal() and int(size) < _MAX_DATA_BYTES
        if kind == "blob" and mode != "120000" and (is_small or path.endswith((".py", ".ipynb"))):  # no links
            files[path] = name
    hashes = "\n".join(files.values()) + "\n"
    data = subprocess.run(
        [*command, "cat-file", "--batch"], input=hashes.encode(), capture_output=True, check=False
    ).stdout
    at = 0
    for path in files:
        end = data.index(b"\n", at)
        header = data[at:end].split()
        at = end + 1
        if header[-1] == b"missing":
            continue
        length = int(header[2])
        target = folder / path
        if ".." not in Path(path).parts:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data[at : at + length])
        at += length + 1
    return True


if __name__ == "__main__":
    main()
